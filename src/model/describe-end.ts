import type { BuildRecord, Phase } from './build.ts';

/** Waits below this are not worth a word, in ms. */
const worthMs = 1000;

/** Time between two phases in ms; null where one of them was not reached. */
export function elapsedMs(times: BuildRecord['times'], from: Phase, to: Phase): number | null {
  const [start, end] = [times[from], times[to]];
  return start === null || end === null ? null : Date.parse(end) - Date.parse(start);
}

/**
 * How a build ended and how long it took, in its VM and before; from the times of its record, so that every reader is told the
 * same. Such as `succeeded in 8.1 s, after 258.9 s in the queue`.
 */
export function describeEnd({
  state,
  verdict,
  times,
}: Pick<BuildRecord, 'state' | 'verdict' | 'times'>): string {
  const waited = elapsedMs(times, 'queued', 'leased');
  const took = elapsedMs(times, 'leased', 'finished');
  const because = verdict && state !== 'succeeded' ? `: ${verdict.message}` : '';
  if (waited === null || took === null) {
    const only = elapsedMs(times, 'queued', 'finished');
    return `${state}${only === null ? '' : ` after ${seconds(only)} in the queue`}${because}`;
  }
  const [how, queued] = state === 'succeeded' ? ['in', ', after'] : ['after', ' and'];
  const inQueue = waited < worthMs ? '' : `${queued} ${seconds(waited)} in the queue`;
  return `${state} ${how} ${seconds(took)}${inQueue}${because}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
