import type { FileHandle } from 'node:fs/promises';
import { RandomAccessReader } from 'yauzl';

/** Of a zip of small files a thousand headers: between two reads others have their turn. */
const windowBytes = 64 * 1024;

/** Reads parts of a file; those behind one another in one go, as a zip has several for each of 200 000 members. */
export class ReadAhead {
  readonly #file: FileHandle;
  #window: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** `length` bytes at `position`, which stay as they are; zeros where the file ends before them. */
  async read(position: number, length: number): Promise<Buffer> {
    const isThere = position >= this.#start && position + length <= this.#start + this.#window.length;
    if (!isThere) {
      const { buffer } = await this.#file.read(Buffer.alloc(Math.max(length, windowBytes)), { position });
      [this.#window, this.#start] = [buffer, position];
    }
    return this.#window.subarray(position - this.#start, position - this.#start + length);
  }
}

/** What yauzl asks with; it wants to be told how many bytes were read, which its types do not know. */
type ReadArguments = [
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
  callback: (error: Error | null, bytesRead: number) => void,
];

/** The same for yauzl. */
export class ZipReader extends RandomAccessReader {
  readonly #ahead: ReadAhead;
  readonly #size: number;

  constructor(file: FileHandle, size: number) {
    super();
    this.#ahead = new ReadAhead(file);
    this.#size = size;
  }

  override read(...[buffer, offset, length, position, callback]: ReadArguments): void {
    this.#ahead.read(position, length).then(
      (bytes) => {
        bytes.copy(buffer, offset);
        callback(null, Math.min(length, this.#size - position));
      },
      (error: Error) => callback(error, 0),
    );
  }
}
