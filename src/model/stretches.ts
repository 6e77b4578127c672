import type { BuildRecord } from './build.ts';

/** What a build does at a time, for whoever asks where the time went. */
export const stretchNames = ['queue', 'lease', 'run', 'artifact', 'lost'] as const;

/** Part of a build's time: its times are those of the record, in ms since 1970. */
export type Stretch = {
  /**
   * `queue`: it waits for a VM. `lease`: the VM takes its context. `run`: buildctl. `artifact`: the VM ends, what it put out is checked and kept.
   * `lost`: the whole of an attempt that was no good.
   */
  readonly name: (typeof stretchNames)[number];
  readonly attempt: number;
  readonly start: number;
  readonly end: number;
};

/** The whole time of a build that has ended, part by part, without gaps. */
export function stretchesOf({ attempts, times }: Pick<BuildRecord, 'attempts' | 'times'>): Stretch[] {
  const [queued, finished] = [times.queued, times.finished].map((time) => Date.parse(time ?? ''));
  if (!queued || !finished) return [];
  const stretches: Stretch[] = [];
  let now = queued;
  const until = (end: number, name: Stretch['name'], attempt: number): void => {
    // A clock that was set back makes no time.
    const later = Math.max(now, end);
    stretches.push({ name, attempt, start: now, end: later });
    now = later;
  };
  for (const { number, started, ended, error } of attempts) {
    until(Date.parse(started), 'queue', number);
    if (error) until(Date.parse(ended ?? started), 'lost', number);
  }
  const number = Math.max(1, attempts.length);
  const isOver = attempts.at(-1)?.error === null;
  // It ended in the line, where its only attempt, or the next, had not begun.
  if (!isOver) until(finished, 'queue', attempts.length + 1);
  if (!isOver) return stretches;
  if (times.contextReady) until(Date.parse(times.contextReady), 'lease', number);
  if (times.buildFinished) until(Date.parse(times.buildFinished), 'run', number);
  until(finished, times.buildFinished ? 'artifact' : times.contextReady ? 'run' : 'lease', number);
  return stretches;
}
