import { KilnError } from '../model/error.ts';

/** Counts the members of all contexts of a build: those that an archive describes, and the folders that it only names on the way to others. */
export class MemberCount {
  readonly #limit: number;
  readonly #counts = { described: 0, implied: 0 };

  /** @param limit of each of the two */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws KilnError ARCHIVE_TOO_MANY_ENTRIES */
  add(kind: 'described' | 'implied'): void {
    this.#counts[kind] += 1;
    if (this.#counts[kind] > this.#limit) throw refuseCount(this.#limit);
  }
}

export function refuseCount(limit: number): KilnError {
  return new KilnError(
    'ARCHIVE_TOO_MANY_ENTRIES',
    `The contexts of the build have more than ${limit} entries; leave out what the build does not need.`,
    { details: { limit } },
  );
}
