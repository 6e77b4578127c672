import { Worker } from 'node:worker_threads';
import { withDeadline } from '../../lib/abort.ts';
import { KilnError } from '../../model/error.ts';
import type { CompressedInput } from './compressed-input.ts';
import { corruptStream, tooManyStreams, truncatedStream } from './members.ts';
import type { FromThread, Refusal, ThreadData, ToThread } from './thread-messages.ts';

/** What `xz -9` needs, twice: its dictionary may be of 64 MiB. */
const maxMemoryBytes = 130 * 1024 * 1024;
/** pbzip2 makes one for 900 kB. Each takes time of its own, however small it is: up to 5 ms. */
const defaultMaxStreams = 10_000;
/** Far more than one block takes on a busy machine, or a small archive in all; a crafted block may take for ever. */
const defaultPatienceMs = 60_000;
/**
 * Beyond that patience, of the processor's time: an eighth of the least that comes out of what tools make, which is bzip2 of
 * random bytes. Other work of the machine does not count, a processor that is some times slower does.
 */
const minOutputBytesPerMs = 500;

export type ThreadLimits = {
  readonly signal: AbortSignal;
  readonly patienceMs?: number;
  readonly maxStreams?: number;
};

/**
 * Decodes in a thread of its own, which nobody else waits for: these decoders are slow and know no pause. What they did not
 * take is left in the input.
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_UNSUPPORTED
 */
export async function* decodeInThread(
  input: CompressedInput,
  name: ThreadData['name'],
  { signal, patienceMs = defaultPatienceMs, maxStreams = defaultMaxStreams }: ThreadLimits,
): AsyncGenerator<Buffer> {
  const thread = new DecodeThread({ name, maxMemoryBytes, maxStreams });
  const reason = (): KilnError => corruptStream(name, 'takes longer to unpack than any that a tool makes');
  /** The processor's time that it may take in all. Its waits, for more of the upload and for whoever reads, take none. */
  let allowedMs = patienceMs;
  try {
    for (;;) {
      const message = await withDeadline({ ms: patienceMs, signal, reason }, () => thread.next());
      if (message.type === 'output') allowedMs += message.bytes.length / minOutputBytesPerMs;
      if (message.cpuMs > allowedMs) throw reason();
      if (message.type === 'read') {
        thread.answer(await input.next());
      } else if (message.type === 'output') {
        const { buffer, byteOffset, byteLength } = message.bytes;
        yield Buffer.from(buffer, byteOffset, byteLength);
        thread.answer(null);
      } else if (message.type === 'end') {
        input.unread(Buffer.from(message.rest));
        return;
      } else {
        throw refusal(message, { name, maxStreams });
      }
    }
  } finally {
    await thread.terminate();
  }
}

class DecodeThread {
  readonly #worker: Worker;
  readonly #answers = new Int32Array(new SharedArrayBuffer(4));
  #message = Promise.withResolvers<FromThread>();

  constructor(data: Omit<ThreadData, 'answers'>) {
    const workerData: ThreadData = { ...data, answers: this.#answers };
    this.#worker = new Worker(new URL('decode-thread.ts', import.meta.url), { workerData });
    this.#worker.on('message', (message: FromThread) => this.#message.resolve(message));
    this.#worker.on('error', (error) => this.#message.reject(error));
    this.#worker.on('exit', () => this.#message.reject(new Error('The thread that decodes has ended.')));
    // It may fail while nobody waits for it.
    this.#message.promise.catch(() => undefined);
  }

  next(): Promise<FromThread> {
    return this.#message.promise;
  }

  /** Memory that is shared is not copied: the thread is done with it before it asks for more. */
  answer(bytes: ToThread): void {
    this.#message = Promise.withResolvers<FromThread>();
    this.#message.promise.catch(() => undefined);
    this.#worker.postMessage(bytes);
    Atomics.add(this.#answers, 0, 1);
    Atomics.notify(this.#answers, 0);
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }
}

function refusal(
  { reason, detail }: { reason: Refusal; detail: string },
  { name, maxStreams }: Pick<ThreadData, 'name' | 'maxStreams'>,
): KilnError {
  const cause = new Error(detail);
  if (reason === 'truncated') return truncatedStream(name, cause);
  if (reason === 'streams') return tooManyStreams(name, maxStreams);
  if (reason === 'damaged') return corruptStream(name, 'has compressed data that is damaged', cause);
  const message = `The ${name} stream asks for more than ${maxMemoryBytes} bytes of memory to be unpacked; compress it with a smaller dictionary, such as that of xz -9.`;
  return new KilnError('ARCHIVE_UNSUPPORTED', message, { cause });
}
