import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { RoomWatch } from '../host/disk-room.ts';
import { removeQuietly } from '../lib/files.ts';
import { gather } from './gather.ts';

const readBytes = 256 * 1024;

export type SpoolOptions = {
  /** Holds the file. */
  readonly directory: string;
  readonly minFreeBytes: number;
};

/** An upload in a file of its own, for what cannot be read as it comes. Disposing removes it. */
export class Spool implements AsyncDisposable {
  readonly file: FileHandle;
  readonly #undo: AsyncDisposableStack;

  private constructor(file: FileHandle, undo: AsyncDisposableStack) {
    this.file = file;
    this.#undo = undo;
  }

  /** Resolves once all of the source is there. @throws KilnError NO_CAPACITY when the disk fills, and what the source throws */
  static async fill(
    source: AsyncIterable<Buffer>,
    { directory, minFreeBytes }: SpoolOptions,
  ): Promise<Spool> {
    const path = join(directory, `${randomUUID()}.upload`);
    await using undo = new AsyncDisposableStack();
    undo.defer(() => removeQuietly(path));
    const file = undo.use(await open(path, 'wx+', 0o600));
    const room = new RoomWatch(directory, minFreeBytes);
    for await (const block of gather(source)) {
      await file.writeFile(block);
      await room.wrote(block.length);
    }
    return new Spool(file, undo.move());
  }

  /** From the beginning. A chunk is lent until the next is asked for. */
  async *read(): AsyncGenerator<Buffer> {
    const chunk = Buffer.alloc(readBytes);
    for (let position = 0; ; ) {
      const { bytesRead } = await this.file.read(chunk, 0, readBytes, position);
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
      position += bytesRead;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#undo.disposeAsync();
  }
}
