import { TimeLimit } from '../../lib/abort.ts';
import { type Permit, Semaphore } from '../../lib/semaphore.ts';
import { KilnError } from '../../model/error.ts';

/** Together they may hold some 700 MB: one of xz up to 165 MB with its thread, one of zstd 128 MB. */
const defaultSize = 4;
/** All of an upload is there while it waits, and those before it depend on no sender. */
const defaultWaitMs = 5 * 60_000;
const retryAfterSeconds = 10;

/** Bounds how many of the decoders that take much memory there are at once, in all uploads. */
export class Decoders {
  readonly #size: number;
  readonly #waitMs: number;
  readonly #permits: Semaphore;

  constructor({ size = defaultSize, waitMs = defaultWaitMs }: { size?: number; waitMs?: number } = {}) {
    this.#size = size;
    this.#waitMs = waitMs;
    this.#permits = new Semaphore(size);
  }

  /** Waits until there may be one more, which there is until the permit is disposed. @throws KilnError NO_CAPACITY, and the reason of the signal */
  async enter(signal: AbortSignal): Promise<Permit> {
    using limit = new TimeLimit({ ms: this.#waitMs, reason: () => this.#full() });
    limit.start();
    return await this.#permits.acquire(AbortSignal.any([signal, limit.signal]));
  }

  #full(): KilnError {
    const message = `No more than ${this.#size} archives of bzip2, xz and zstd are unpacked at once, and those before this one take long; try again in ${retryAfterSeconds} seconds, or send gzip.`;
    return new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
  }
}
