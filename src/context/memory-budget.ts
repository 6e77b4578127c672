import { KilnError } from '../model/error.ts';

/** For 200 000 members 160 bytes each. Real archives need a tenth of it. */
const limit = 32 * 1024 * 1024;

/** Eight archives as large as they may be, or all that real ones of a full line need. */
const defaultSharedLimit = 256 * 1024 * 1024;
const retryAfterSeconds = 10;

/** What all archives that are being taken may hold in memory together. */
export class SharedMemory {
  readonly #limit: number;
  #bytes = 0;

  constructor(limit = defaultSharedLimit) {
    this.#limit = limit;
  }

  /** @throws KilnError NO_CAPACITY; nothing is taken then */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#limit) {
      const message = `The archives that are being uploaded hold ${this.#limit} bytes of names together, and there is room for no more; try again in ${retryAfterSeconds} seconds.`;
      throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
    }
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/**
 * Counts what stays in memory of one archive until its image is finished: names, targets of links and extended attributes. All else
 * that is kept of a member is of a fixed size, and bounded by the number of members. Disposed once the archive's names are gone.
 */
export class MemoryBudget implements Disposable {
  readonly #shared: SharedMemory;
  #bytes = 0;

  constructor(shared: SharedMemory) {
    this.#shared = shared;
  }

  /** @throws KilnError ARCHIVE_TOO_LARGE when it is used up, NO_CAPACITY when that of all archives is. */
  take(bytes: number): void {
    if (this.#bytes + bytes <= limit) {
      this.#shared.take(bytes);
      this.#bytes += bytes;
      return;
    }
    const message = `The names, link targets and extended attributes in the archive are longer than ${limit} bytes together; leave out what the build does not need.`;
    throw new KilnError('ARCHIVE_TOO_LARGE', message, { details: { limit } });
  }

  [Symbol.dispose](): void {
    this.#shared.give(this.#bytes);
    this.#bytes = 0;
  }
}
