import type { ArchiveUpload } from '../model/context.ts';
import { KilnError } from '../model/error.ts';

/** An upload as it comes in: counted, limited, and ended by the signal even while it is silent. */
export class UploadReader implements Disposable {
  /** How many have come. */
  bytes = 0;
  readonly #source: AsyncIterator<Buffer>;
  readonly #maxBytes: number;
  readonly #signal: AbortSignal;
  /** What was looked at and is still to be given. */
  #head: Buffer = Buffer.alloc(0);

  /** Ends the read that waits, if one does. */
  #giveUp: (reason: unknown) => void = () => undefined;
  #isAborted = false;

  constructor({ bytes }: ArchiveUpload, maxBytes: number, signal: AbortSignal) {
    this.#source = bytes[Symbol.asyncIterator]();
    this.#maxBytes = maxBytes;
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
    this.bytes += chunk.length;
    if (this.bytes > this.#maxBytes) throw uploadTooLarge(this.#maxBytes);
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
