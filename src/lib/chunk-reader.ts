import { finished, type Readable } from 'node:stream';

/** What may wait for its reader before the stream is paused, in bytes. */
const maxWaitingBytes = 256 * 1024;

/**
 * The chunks of a stream of bytes as they come. A stream's own iteration joins chunks that wait, which copies all of an upload
 * once more. Leaving ends neither the stream nor what carries it, and takes effect at once, also while a chunk is awaited.
 */
export class ChunkReader implements AsyncIterableIterator<Buffer> {
  readonly #stream: Readable;
  /** Told of the bytes of each chunk that is given on. */
  readonly #onRead: (bytes: number) => void;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #state: 'new' | 'open' | 'ended' | { readonly error: Error } = 'new';
  #asked: PromiseWithResolvers<IteratorResult<Buffer>> | null = null;
  #unwatch: () => void = () => undefined;

  constructor(stream: Readable, onRead: (bytes: number) => void = () => undefined) {
    this.#stream = stream;
    this.#onRead = onRead;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer>> {
    if (this.#state === 'new') this.#open();
    this.#asked = Promise.withResolvers<IteratorResult<Buffer>>();
    const { promise } = this.#asked;
    this.#answer();
    return promise;
  }

  async return(): Promise<IteratorResult<Buffer>> {
    this.#leave();
    this.#waiting.length = 0;
    this.#state = 'ended';
    this.#answer();
    return { done: true, value: undefined };
  }

  #open(): void {
    this.#state = 'open';
    this.#unwatch = finished(this.#stream, { writable: false }, (error) => {
      this.#leave();
      this.#state = error ? { error } : 'ended';
      this.#answer();
    });
    this.#stream.on('data', this.#onData);
  }

  #leave(): void {
    this.#unwatch();
    this.#stream.off('data', this.#onData);
    this.#stream.pause();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    this.#answer();
    if (this.#waitingBytes >= maxWaitingBytes) this.#stream.pause();
  };

  /** Gives to whoever asked what there is. */
  #answer(): void {
    const asked = this.#asked;
    const chunk = asked && typeof this.#state === 'string' ? this.#waiting.shift() : undefined;
    if (!asked || (!chunk && this.#state === 'open')) return;
    this.#asked = null;
    if (chunk) {
      this.#waitingBytes -= chunk.length;
      this.#onRead(chunk.length);
      asked.resolve({ done: false, value: chunk });
      if (this.#waitingBytes === 0 && this.#state === 'open') this.#stream.resume();
    } else if (typeof this.#state === 'object') {
      asked.reject(this.#state.error);
    } else {
      asked.resolve({ done: true, value: undefined });
    }
  }
}
