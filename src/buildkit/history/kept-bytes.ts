/** Far more than any build's steps need: ten thousand steps with names of 200 bytes take a third. */
const maxKeptBytes = 16 * 1024 * 1024;
/** What the objects around a text take, roughly. */
const overhead = 256;

/** What kiln holds of one build's names, ids and errors, all together: the guest decides how many it sends. */
export class KeptBytes {
  #left: number;

  constructor(maxBytes: number = maxKeptBytes) {
    this.#left = maxBytes;
  }

  /** Whether there is room to keep one more text of this many characters; if so it is taken. */
  take(characters: number): boolean {
    const bytes = overhead + 2 * characters;
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
}
