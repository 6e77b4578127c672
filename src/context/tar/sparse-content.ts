import type { ErofsImage } from '../erofs/erofs-image.ts';
import { checkMap, type Extent } from './sparse-map.ts';

/** The content of a sparse file: data as it comes, each part in its place. Once all of it has come the file is complete. */
export class SparseContent {
  readonly #image: ErofsImage;
  readonly #extents: readonly Extent[];
  readonly #realSize: number;
  /** The extent that the next bytes belong to. */
  #index = 0;
  /** How far the file is written. */
  #position = 0;

  /** @throws KilnError ARCHIVE_CORRUPT when the map is none */
  constructor(
    image: ErofsImage,
    { realSize, extents }: { realSize: number; extents: readonly Extent[] },
    storedBytes: number,
  ) {
    checkMap(extents, realSize, storedBytes);
    this.#image = image;
    this.#extents = extents;
    this.#realSize = realSize;
    this.#passHoles();
  }

  /** The next bytes of data. */
  push(bytes: Buffer): void {
    for (let start = 0; start < bytes.length; ) {
      const extent = this.#extents[this.#index];
      if (!extent) throw new RangeError('There is more data than the map asks for.');
      const part = bytes.subarray(start, start + extent.offset + extent.bytes - this.#position);
      this.#image.content(part);
      this.#position += part.length;
      start += part.length;
      this.#passHoles();
    }
  }

  /** Goes on to where the next bytes belong, or to the end of the file. */
  #passHoles(): void {
    let extent = this.#extents[this.#index];
    while (extent && this.#position >= extent.offset + extent.bytes) {
      this.#index += 1;
      extent = this.#extents[this.#index];
    }
    const next = extent ? Math.max(extent.offset, this.#position) : this.#realSize;
    this.#image.hole(next - this.#position);
    this.#position = next;
  }
}
