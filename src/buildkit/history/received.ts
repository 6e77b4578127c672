import type { KeptBytes } from './kept-bytes.ts';
import { type SolveStatus, statusSchema } from './solve-status.ts';

/** The guest decides how many steps it tells of; no Dockerfile has so many. */
export const maxSteps = 10_000;
/** A line that was begun is kept up to here, so that it can be said whole. */
const maxOpenLine = 1024;

type Step = {
  logBytes: number;
  openLine: Buffer;
  warnings: number;
  ended: boolean;
  readonly done: Set<string>;
};

/** What has been heard of each step of a build, to tell what is missing when its history tells everything again. */
export class Received {
  readonly #steps = new Map<string, Step>();
  readonly #told = new Map<string, { logBytes: number; warnings: number }>();
  readonly #kept: KeptBytes;

  constructor(kept: KeptBytes) {
    this.#kept = kept;
  }

  /** A status as it came, whatever it is. */
  add(message: unknown): void {
    const { data: status } = statusSchema.safeParse(message);
    if (!status) return;
    for (const { digest, completed } of status.vertexes) this.#step(digest).ended ||= completed !== undefined;
    for (const { vertex, id, completed } of status.statuses)
      if (completed !== undefined) this.#note(vertex, id);
    for (const { vertex } of status.warnings) this.#step(vertex).warnings += 1;
    for (const { vertex, data } of status.logs) {
      const step = this.#step(vertex);
      const bytes = Buffer.from(data ?? '', 'base64');
      step.logBytes += bytes.length;
      const line = bytes.subarray(bytes.lastIndexOf(10) + 1);
      const whole = line.length < bytes.length ? line : Buffer.concat([step.openLine, line]);
      step.openLine = Buffer.from(whole.length > maxOpenLine ? '' : whole);
    }
  }

  /**
   * What of this status has not come yet. The history is told once, from its beginning.
   * @returns `begun` has, for each step whose log goes on here for the first time, the line that was cut
   */
  missing(status: SolveStatus): { missing: SolveStatus; begun: ReadonlyMap<string, Buffer> } {
    const begun = new Map<string, Buffer>();
    const missing = {
      vertexes: status.vertexes.filter(
        ({ digest, completed }) => completed !== undefined && !this.#step(digest).ended,
      ),
      statuses: status.statuses.filter(
        ({ vertex, id, completed }) => completed !== undefined && !this.#step(vertex).done.has(id),
      ),
      warnings: status.warnings.filter(({ vertex }) => {
        const told = this.#toldOf(vertex);
        told.warnings += 1;
        return told.warnings > this.#step(vertex).warnings;
      }),
      logs: status.logs.flatMap((log) => {
        const bytes = Buffer.from(log.data ?? '', 'base64');
        const step = this.#step(log.vertex);
        const told = this.#toldOf(log.vertex);
        const known = Math.min(bytes.length, Math.max(0, step.logBytes - told.logBytes));
        const isFirst = known > 0 || told.logBytes === step.logBytes;
        told.logBytes += bytes.length;
        if (known === bytes.length) return [];
        if (isFirst) begun.set(log.vertex, step.openLine);
        return [{ ...log, data: bytes.subarray(known).toString('base64') }];
      }),
    };
    return { missing, begun };
  }

  #note(vertex: string, id: string): void {
    const { done } = this.#step(vertex);
    if (done.size < maxSteps && !done.has(id) && this.#kept.take(id.length)) done.add(id);
  }

  #step(digest: string): Step {
    const known = this.#steps.get(digest);
    if (known) return known;
    const step = {
      logBytes: 0,
      openLine: Buffer.alloc(0),
      warnings: 0,
      ended: false,
      done: new Set<string>(),
    };
    if (this.#steps.size < maxSteps && this.#kept.take(digest.length)) this.#steps.set(digest, step);
    return step;
  }

  #toldOf(digest: string): { logBytes: number; warnings: number } {
    const known = this.#told.get(digest);
    if (known) return known;
    const told = { logBytes: 0, warnings: 0 };
    if (this.#told.size < maxSteps && this.#kept.take(digest.length)) this.#told.set(digest, told);
    return told;
  }
}
