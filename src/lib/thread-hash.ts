import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';

/** One for all hashes of the process, from the first on. */
let thread: Worker | null = null;

/** A sha256 in a thread of its own: a large upload has a whole processor for it, and nobody else waits meanwhile. */
export class ThreadHash implements Disposable {
  readonly #port: MessagePort;
  #answered: PromiseWithResolvers<string> | null = null;
  /** Nobody answers any more: the thread has died, or this was disposed. */
  #ended = false;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    thread ??= startThread();
    thread.postMessage(port2, [port2]);
    this.#port = port1;
    this.#port.on('message', (answer: string) => this.#answered?.resolve(answer));
    this.#port.on('close', () => {
      this.#ended = true;
      this.#answered?.reject(ended());
    });
  }

  /**
   * Until it resolves the bytes must stay as they are, and nothing else may be asked. Shared memory is not copied.
   * @throws Error once the thread has died, as `digest` does
   */
  async update(bytes: Uint8Array): Promise<void> {
    await this.#ask(bytes);
  }

  /** Lower-case hex. */
  digest(): Promise<string> {
    return this.#ask(null);
  }

  [Symbol.dispose](): void {
    this.#port.close();
  }

  #ask(bytes: Uint8Array | null): Promise<string> {
    if (this.#ended) return Promise.reject(ended());
    this.#answered = Promise.withResolvers<string>();
    this.#port.postMessage(bytes);
    return this.#answered.promise;
  }
}

function ended(): Error {
  return new Error('The thread that hashes has ended.');
}

function startThread(): Worker {
  const started = new Worker(new URL('hash-thread.ts', import.meta.url));
  const forget = (): void => {
    if (thread === started) thread = null;
  };
  // Whoever waits for an answer learns of it by its port.
  started.on('error', forget).on('exit', forget).unref();
  return started;
}
