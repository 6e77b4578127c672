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
  #sealed: boolean;
  #ended: boolean;
  #lastWrite: Promise<void> = Promise.resolve();
  /** Settles at the next growth or at the end; replaced each time. */
  #change = Promise.withResolvers<void>();

  private constructor(path: string, handle: FileHandle | null, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
    this.#sealed = handle === null;
    this.#ended = handle === null;
  }

  /** A new file, to be written. */
  static async create(path: string): Promise<AppendFile> {
    return new AppendFile(path, await open(path, 'wx', 0o600), 0);
  }

  /** The same; what an earlier run of the service may have left there goes. */
  static async createAnew(path: string): Promise<AppendFile> {
    return new AppendFile(path, await open(path, 'w', 0o600), 0);
  }

  /** A file that an earlier run of the service did not end, to be written on. */
  static async reopen(path: string): Promise<AppendFile> {
    const handle = await open(path, 'r+');
    return new AppendFile(path, handle, (await handle.stat()).size);
  }

  /** A file that was written to its end, perhaps by an earlier run of the service. */
  static async openEnded(path: string): Promise<AppendFile> {
    await using handle = await open(path, 'r');
    return new AppendFile(path, null, (await handle.stat()).size);
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Resolves when the bytes are in the file: all of them or, where it rejects, none. Calls are written in their order.
   * @throws KilnError STORAGE_FULL
   */
  append(bytes: Uint8Array): Promise<void> {
    const handle = this.#handle;
    if (!handle || this.#sealed) return Promise.reject(new Error(`${this.#path} has ended.`));
    const write = this.#lastWrite.then(() => this.#write(handle, bytes));
    this.#lastWrite = write.catch(() => undefined);
    return write;
  }

  /**
   * Ends the file after all writes so far and waits until they are on the disk; refuses new ones at once. Where the disk fails
   * then, bytes are lost and no second try brings them back: the file has ended all the same, and only the first call says so.
   * @throws KilnError INTERNAL
   */
  async end(): Promise<void> {
    if (this.#sealed) return this.#lastWrite;
    this.#sealed = true;
    const ended = this.#lastWrite.then(() => this.#close());
    this.#lastWrite = ended.catch(() => undefined);
    return ended;
  }

  /**
   * Chunks of at most 64 KiB: what is there at this moment or, with `follow`, whatever comes until the file is ended.
   * @throws KilnError OUT_OF_RANGE at once when `offset` is beyond the file.
   */
  read(range: ReadRange): AsyncIterable<Buffer> {
    if (range.offset > this.#size) {
      throw new KilnError(
        'OUT_OF_RANGE',
        `Offset ${range.offset} is beyond the ${this.#size} bytes that are there.`,
      );
    }
    return this.#chunks(range, range.follow ? Number.POSITIVE_INFINITY : this.#size);
  }

  async *#chunks({ offset, follow, signal }: ReadRange, limit: number): AsyncGenerator<Buffer> {
    await using handle = await open(this.#path, 'r');
    for (;;) {
      signal.throwIfAborted();
      const change = this.#change.promise;
      const ended = this.#ended;
      while (offset < Math.min(this.#size, limit)) {
        const length = Math.min(chunkBytes, Math.min(this.#size, limit) - offset);
        const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, offset);
        if (bytesRead === 0) throw new Error(`${this.#path} is shorter than it was.`);
        offset += bytesRead;
        yield buffer.subarray(0, bytesRead);
        signal.throwIfAborted();
      }
      if (ended || !follow) return;
      await raceAbort(change, signal);
    }
  }

  /** By position and not in append mode: what a failed write left behind is overwritten by the next. */
  async #write(handle: FileHandle, bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, this.#size + done);
        done += bytesWritten;
      }
    } catch (error) {
      // A later run of the service takes the length of the file for the length of what was written.
      await handle.truncate(this.#size).catch(() => undefined);
      throw KilnError.from(error);
    }
    this.#size += bytes.length;
    this.#wakeReaders();
  }

  async #close(): Promise<void> {
    this.#ended = true;
    this.#wakeReaders();
    try {
      await using handle = this.#handle;
      await handle?.datasync();
    } catch (cause) {
      throw new KilnError('INTERNAL', `The disk did not take all of ${this.#path}.`, { cause });
    }
  }

  #wakeReaders(): void {
    const { resolve } = this.#change;
    this.#change = Promise.withResolvers();
    resolve();
  }
}
