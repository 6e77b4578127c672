import type { ArchiveUpload } from '../model/context.ts';
import { KilnError } from '../model/error.ts';

/** Counts what was uploaded of all contexts of a build. */
export class UploadedBytes {
  /** How many have come. */
  bytes = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws KilnError UPLOAD_TOO_LARGE */
  add(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes > this.#limit) throw uploadTooLarge(this.#limit);
  }
}

/** An upload as it comes in: counted, limited, and ended by the signal even while it is silent. */
export class UploadReader implements Disposable {
  readonly #source: AsyncIterator<Buffer>;
  readonly #uploaded: UploadedBytes;
  readonly #signal: AbortSignal;
  /** What was looked at and is still to be given. */
  #head: Buffer = Buffer.alloc(0);

  /** Ends the read that waits, if one does. */
  #giveUp: (reason: unknown) => void = () => undefined;
  #isAborted = false;

  constructor({ bytes }: ArchiveUpload, uploaded: UploadedBytes, signal: AbortSignal) {
    this.#source = bytes[Symbol.asyncIterator]();
    this.#uploaded = uploaded;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** The first bytes, `length` of them where there are as many; `chunks` gives them too. */
  async peek(length: number): Promise<Buffer> {
    while (this.#head.length < length) {
      const chunk = await this.#next();
      if (!chunk) break;
      this.#head = Buffer.concat([this.#head, chunk]);
    }
    return this.#head.subarray(0, length);
  }

  /** @throws KilnError UPLOAD_TOO_LARGE, and the reason of the signal */
  async *chunks(): AsyncGenerator<Buffer> {
    if (this.#head.length > 0) yield this.#head;
    for (let chunk = await this.#next(); chunk; chunk = await this.#next()) yield chunk;
  }

  /** Tells the sender to stop. Nothing waits for it: one that never speaks again would never answer either. */
  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#source.return?.().catch(() => undefined);
  }

  /** Null at the end. One listener serves all reads: an upload has many thousands. */
  #next(): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      this.#giveUp = reject;
      if (this.#isAborted) this.#onAbort();
      this.#source
        .next()
        .then(({ done, value }) => resolve(done ? null : this.#count(value)))
        .catch(reject);
    });
  }

  #count(chunk: Buffer): Buffer {
    this.#uploaded.add(chunk.length);
    return chunk;
  }

  readonly #onAbort = (): void => {
    this.#isAborted = true;
    this.#giveUp(this.#signal.reason);
  };
}

function uploadTooLarge(limit: number): KilnError {
  const message = `The upload is larger than ${limit} bytes; leave out what the build does not need.`;
  return new KilnError('UPLOAD_TOO_LARGE', message, { details: { limit } });
}
