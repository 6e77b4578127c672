import type { FileHandle } from 'node:fs/promises';
import type { RoomWatch } from '../host/disk-room.ts';
import type { ImagePiece } from './erofs/erofs-image.ts';

/** The file that an image is written to, piece by piece; holes are left out, so that they take no room on the disk. */
export class ImageFile {
  readonly #file: FileHandle;
  readonly #room: RoomWatch;
  #position = 0;

  constructor(file: FileHandle, room: RoomWatch) {
    this.#file = file;
    this.#room = room;
  }

  /** @throws KilnError NO_CAPACITY */
  async write(pieces: readonly ImagePiece[]): Promise<void> {
    let buffers: Buffer[] = [];
    for (const piece of pieces) {
      if (Buffer.isBuffer(piece)) {
        buffers.push(piece);
        continue;
      }
      await this.#writeAll(buffers);
      buffers = [];
      this.#position += piece.holeBytes;
    }
    await this.#writeAll(buffers);
  }

  /** Puts the first block, which is known last, into its place. */
  async writeFirst(block: Buffer): Promise<void> {
    await writeFully(this.#file, block, 0);
  }

  /** Without joining them: most are views of one chunk, or the same zeros. */
  async #writeAll(buffers: Buffer[]): Promise<void> {
    const [only] = buffers;
    if (!only) return;
    const bytes = buffers.reduce((sum, { length }) => sum + length, 0);
    if (buffers.length === 1) {
      await writeFully(this.#file, only, this.#position);
    } else {
      const { bytesWritten } = await this.#file.writev(buffers, this.#position);
      if (bytesWritten < bytes) {
        const rest = Buffer.concat(buffers).subarray(bytesWritten);
        await writeFully(this.#file, rest, this.#position + bytesWritten);
      }
    }
    this.#position += bytes;
    await this.#room.wrote(bytes);
  }
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
