import { TimeLimit } from '../../lib/abort.ts';
import { type Permit, Semaphore } from '../../lib/semaphore.ts';
import { KilnError } from '../../model/error.ts';

/** Together they may hold some 700 MB: one of xz up to 165 MB with its thread, one of zstd 128 MB. */
const defaultSize = 4;
/** All of an upload is there while it waits, and those before it depend on no sender. */
const defaultWaitMs = 5 * 60_000;
/** What is unpacked in this time gives way to nobody: 200 MB of bzip2, some GB of all others. */
const defaultShortMs = 60_000;
const retryAfterSeconds = 10;

/** The right to one decoder until it is disposed. Its signal aborts, with NO_CAPACITY, when somebody else must have it. */
export type DecoderPermit = Disposable & { readonly signal: AbortSignal };

export type DecodersOptions = {
  readonly size?: number;
  readonly waitMs?: number;
  readonly shortMs?: number;
};

/**
 * Bounds how many of the decoders that take much memory there are at once, in all uploads. While others wait, those that take
 * long hold no more than half of them; so whoever is short waits for others that are short, and never for hours.
 */
export class Decoders {
  readonly #size: number;
  readonly #waitMs: number;
  readonly #shortMs: number;
  readonly #permits: Semaphore;
  #waiting = 0;
  /** Those that have taken long and go on, the longest first. */
  readonly #long: AbortController[] = [];

  constructor({
    size = defaultSize,
    waitMs = defaultWaitMs,
    shortMs = defaultShortMs,
  }: DecodersOptions = {}) {
    this.#size = size;
    this.#waitMs = waitMs;
    this.#shortMs = shortMs;
    this.#permits = new Semaphore(size);
  }

  /** Waits until there may be one more. @throws KilnError NO_CAPACITY, and the reason of the signal */
  async enter(signal: AbortSignal): Promise<DecoderPermit> {
    using limit = new TimeLimit({ ms: this.#waitMs, reason: () => this.#full() });
    limit.start();
    if (this.#permits.free === 0) this.#giveWay();
    this.#waiting += 1;
    try {
      return this.#begin(await this.#permits.acquire(AbortSignal.any([signal, limit.signal])));
    } finally {
      this.#waiting -= 1;
    }
  }

  #begin(permit: Permit): DecoderPermit {
    const end = new AbortController();
    const timer = setTimeout(() => {
      this.#long.push(end);
      if (this.#waiting > 0) this.#giveWay();
    }, this.#shortMs);
    return {
      signal: end.signal,
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        const at = this.#long.indexOf(end);
        if (at >= 0) this.#long.splice(at, 1);
        permit[Symbol.dispose]();
      },
    };
  }

  /** One of those that take long, where they are too many: the one with the least to lose. */
  #giveWay(): void {
    if (this.#long.length > this.#size / 2) this.#long.pop()?.abort(this.#tookLong());
  }

  #tookLong(): KilnError {
    const message = `This archive takes longer than ${this.#shortMs / 1000} s to unpack, as others do, and shorter ones wait; send gzip, or try again in ${retryAfterSeconds} seconds.`;
    return new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
  }

  #full(): KilnError {
    const message = `No more than ${this.#size} archives of bzip2, xz and zstd are unpacked at once, and those before this one take long; try again in ${retryAfterSeconds} seconds, or send gzip.`;
    return new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
  }
}
