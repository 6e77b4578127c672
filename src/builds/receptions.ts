import type { Reception, UploadProgress } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';

/** Each may hold 5 MiB, those of its form and its Dockerfile, and what of an archive is under way. */
const defaultMaxAtOnce = 128;
/** How long an upload has, in ms, before it may have to give way. */
const defaultGraceMs = 30_000;
/** Bytes per second, on the whole, with which an upload gives way to nobody. */
const crawlingRate = 64 * 1024;
const retryAfterSeconds = 10;

type Received = { readonly since: number; readonly progress: UploadProgress; readonly end: AbortController };

/**
 * Requests for builds that are being received. What each of them holds has a bound of its own; that of all together follows from their
 * number. Where there is no room for one more, the slowest of those that crawl gives way to it: else, a few bytes a second from
 * somebody who means it would keep everybody out.
 */
export class Receptions {
  readonly #maxAtOnce: number;
  readonly #graceMs: number;
  readonly #received = new Set<Received>();

  constructor({ maxAtOnce = defaultMaxAtOnce, graceMs = defaultGraceMs } = {}) {
    this.#maxAtOnce = maxAtOnce;
    this.#graceMs = graceMs;
  }

  /** One more, until it is disposed. @throws KilnError NO_CAPACITY */
  enter(progress: UploadProgress): Reception {
    if (this.#received.size >= this.#maxAtOnce && !this.#giveWay()) {
      const message = `${this.#maxAtOnce} builds are being uploaded already; try again in ${retryAfterSeconds} seconds.`;
      throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
    }
    const received: Received = { since: performance.now(), progress, end: new AbortController() };
    this.#received.add(received);
    return {
      signal: received.end.signal,
      [Symbol.dispose]: () => void this.#received.delete(received),
    };
  }

  /** @returns whether anybody did */
  #giveWay(): boolean {
    const now = performance.now();
    let [slowest, least]: [Received | null, number] = [null, crawlingRate];
    for (const received of this.#received) {
      const [bytes, ms] = [received.progress(), now - received.since];
      if (bytes === null || ms < this.#graceMs || (1000 * bytes) / ms >= least) continue;
      [slowest, least] = [received, (1000 * bytes) / ms];
    }
    if (!slowest) return false;
    this.#received.delete(slowest);
    slowest.end.abort(crawls());
    return true;
  }
}

function crawls(): KilnError {
  const message =
    'The upload is slow, and as many as there may be are under way; send it again over a faster connection.';
  return new KilnError('UPLOAD_TIMEOUT', message);
}
