import { KilnError } from '../model/error.ts';

/** For 200 000 members 160 bytes each. Real archives need a tenth of it. */
const limit = 32 * 1024 * 1024;

/**
 * Counts what stays in memory of one archive until its image is finished: names, targets of links and extended attributes. All else
 * that is kept of a member is of a fixed size, and bounded by the number of members.
 */
export class MemoryBudget {
  #bytes = 0;

  /** @throws KilnError ARCHIVE_TOO_LARGE when it is used up. */
  take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= limit) return;
    const message = `The names, link targets and extended attributes in the archive are longer than ${limit} bytes together; leave out what the build does not need.`;
    throw new KilnError('ARCHIVE_TOO_LARGE', message, { details: { limit } });
  }
}
