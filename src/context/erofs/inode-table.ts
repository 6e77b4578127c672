import { slotBytes } from './erofs-format.ts';

const chunkBytes = 1024 * 1024;

/** The inodes of an image, in memory: a slot number says where each stands. */
export class InodeTable {
  readonly #chunks: Buffer[] = [];
  /** The first slot stays empty: inode number 0 means "deleted" to readers of directories. */
  #next = 1;
  /** Of those that are still in use. */
  count = 0;

  /** Room for an inode and what follows it, zeroed; its slot. An inode lies within one chunk. */
  add(bytes: number): number {
    const slots = Math.ceil(bytes / slotBytes);
    const slotsPerChunk = chunkBytes / slotBytes;
    if ((this.#next % slotsPerChunk) + slots > slotsPerChunk) {
      this.#next = Math.ceil(this.#next / slotsPerChunk) * slotsPerChunk;
    }
    const slot = this.#next;
    this.#next += slots;
    while (this.#chunks.length * slotsPerChunk < this.#next) this.#chunks.push(Buffer.alloc(chunkBytes));
    this.count += 1;
    return slot;
  }

  /** The inode and what follows it. */
  get(slot: number): Buffer {
    const at = slot * slotBytes;
    const chunk = this.#chunks[Math.floor(at / chunkBytes)];
    if (!chunk) throw new RangeError(`There is no slot ${slot}.`);
    return chunk.subarray(at % chunkBytes);
  }

  /** All slots up to the last, in order. */
  *chunks(): Generator<Buffer> {
    const end = this.#next * slotBytes;
    for (const [index, chunk] of this.#chunks.entries()) yield chunk.subarray(0, end - index * chunkBytes);
  }
}
