import { type FileHandle, open } from 'node:fs/promises';
import { raceAbort } from '../lib/abort.ts';
import { KilnError } from '../model/error.ts';

const chunkBytes = 64 * 1024;

export type ReadRange = { readonly offset: number; readonly follow: boolean; readonly signal: AbortSignal };

/**
 * A file that only grows, with any number of readers, each at its own offset.
 *
 * INVARIANTS:
 * - Readers read the file, never the writer's memory: a slow one costs a constant and delays nobody.
 * - `size` counts bytes that are in the file. A reader is woken after that, so it never reads short.
 * - Once ended, a file never grows again; followers end when they have read all of it.
 */
export class AppendFile {
  readonly #path: string;
  readonly #handle: FileHandle | null;
  #size: number;
  #ended: boolean;
  #lastWrite: Promise<void> = Promise.resolve();
  /** Settles at the next growth or at the end; replaced each time. */
  #change = Promise.withResolvers<void>();

  private constructor(path: string, handle: FileHandle | null, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
    this.#ended = handle === null;
  }

  /** A new file, to be written. */
  static async create(path: string): Promise<AppendFile> {
    return new AppendFile(path, await open(path, 'ax', 0o600), 0);
  }

  /** A file that was written to its end, perhaps by an earlier run of the service. */
  static async openEnded(path: string): Promise<AppendFile> {
    await using handle = await open(path, 'r');
    return new AppendFile(path, null, (await handle.stat()).size);
  }

  get size(): number {
    return this.#size;
  }

  /** Resolves when the bytes are in the file. Calls are written in their order. */
  append(bytes: Uint8Array): Promise<void> {
    const handle = this.#handle;
    if (!handle || this.#ended) return Promise.reject(new Error(`${this.#path} has ended.`));
    const write = this.#lastWrite.then(async () => {
      await handle.appendFile(bytes);
      this.#size += bytes.length;
      this.#wakeReaders();
    });
    this.#lastWrite = write.catch(() => undefined);
    return write.catch((error: unknown) => {
      throw KilnError.from(error);
    });
  }

  /** Ends the file after all writes so far. */
  async end(): Promise<void> {
    await this.#lastWrite;
    if (this.#ended) return;
    this.#ended = true;
    this.#wakeReaders();
    await this.#handle?.close();
  }

  /** @throws KilnError OUT_OF_RANGE at once when `offset` is beyond the file. */
  read(range: ReadRange): AsyncIterable<Buffer> {
    if (range.offset > this.#size) {
      throw new KilnError(
        'OUT_OF_RANGE',
        `Offset ${range.offset} is beyond the ${this.#size} bytes that are there.`,
      );
    }
    return this.#chunks(range);
  }

  async *#chunks({ offset, follow, signal }: ReadRange): AsyncGenerator<Buffer> {
    await using handle = await open(this.#path, 'r');
    for (;;) {
      signal.throwIfAborted();
      const change = this.#change.promise;
      const ended = this.#ended;
      while (offset < this.#size) {
        const length = Math.min(chunkBytes, this.#size - offset);
        const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset);
        if (bytesRead === 0) throw new KilnError('INTERNAL', `${this.#path} is shorter than it was.`);
        offset += bytesRead;
        yield buffer.subarray(0, bytesRead);
        signal.throwIfAborted();
      }
      if (ended || !follow) return;
      await raceAbort(change, signal);
    }
  }

  #wakeReaders(): void {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers();
    resolve();
  }
}
