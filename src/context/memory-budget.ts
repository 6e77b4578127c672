import { KilnError } from '../model/error.ts';

/** For 200 000 members 160 bytes each. Real archives need a tenth of it. */
const limit = 32 * 1024 * 1024;

/**
 * What one of each takes beside its name, in bytes: its places in the tree, among the inodes and in the folder that is written. Measured, an
 * empty file takes 110 to 170, a folder 290.
 */
const sizes = {
  file: 160,
  symlink: 160,
  hardlink: 160,
  special: 96,
  directory: 320,
  listedInZip: 400,
} as const;

/** Twelve archives of 200 000 members with long names, or thousands of usual ones. */
const usualSharedLimit = 512 * 1024 * 1024;
const retryAfterSeconds = 10;

/** What all archives that are being taken may hold in memory together. */
export class SharedMemory {
  readonly #limit: number;
  #bytes = 0;

  constructor(limit = usualSharedLimit) {
    this.#limit = limit;
  }

  /** Room for one archive at least, that has as many members as it may: all of them in folders of their own, in a zip. */
  static forArchivesOf(maxMembers: number): SharedMemory {
    const largest = 3 * limit + maxMembers * (2 * sizes.directory + sizes.listedInZip);
    return new SharedMemory(Math.max(usualSharedLimit, largest));
  }

  /** @throws KilnError NO_CAPACITY; nothing is taken then */
  take(bytes: number): void {
    if (this.#bytes + bytes > this.#limit) {
      const message = `The archives that are being uploaded take as much memory as they may together, ${this.#limit} bytes; try again in ${retryAfterSeconds} seconds.`;
      throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
    }
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/**
 * Counts what stays in memory of one archive until its image is finished: names, targets of links and extended attributes, which have a limit
 * for each archive, and what each member takes beside them, which the number of members bounds. All of it has a limit for all archives
 * together. Disposed once the archive's names are gone.
 */
export class MemoryBudget implements Disposable {
  readonly #shared: SharedMemory;
  #bytes = 0;
  #memberBytes = 0;

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

  /** For one more of these. @throws KilnError NO_CAPACITY */
  takeFor(kind: keyof typeof sizes, nameBytes = 0): void {
    const bytes = sizes[kind] + nameBytes;
    this.#shared.take(bytes);
    this.#memberBytes += bytes;
  }

  [Symbol.dispose](): void {
    this.#shared.give(this.#bytes + this.#memberBytes);
    this.#bytes = 0;
    this.#memberBytes = 0;
  }
}
