/** A place in the search: 0 is its beginning. */
export type SearchState = number;

/**
 * Looks for many byte strings at once, byte by byte, in time that does not depend on how many they are, nor on what is searched (Aho and
 * Corasick, 1975).
 */
export class FormSearch {
  /** Of a state and a byte: the state that is one byte further. */
  readonly #next = new Map<number, SearchState>();
  /** Of a state: that of the longest end of it that is a beginning, too. */
  readonly #shorter: SearchState[] = [0];
  readonly #depth: number[] = [0];
  /** Of a state: how long the longest string is that ends there; 0 for none. */
  readonly #found: number[] = [0];
  /** Whether a string begins with this byte. */
  readonly #begins = new Uint8Array(256);

  constructor(forms: readonly Buffer[]) {
    for (const form of forms) this.#add(form);
    this.#link();
  }

  /** How many of the last bytes may be the beginning of a string. */
  depth(state: SearchState): number {
    return this.#depth[state] ?? 0;
  }

  /** Bytes of the longest string that ends where this state was reached; 0 for none. */
  found(state: SearchState): number {
    return this.#found[state] ?? 0;
  }

  /** Where no string has begun: the place of the next byte that begins one. */
  skip(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.length && this.#begins[bytes[at] ?? 0] === 0) at += 1;
    return at;
  }

  step(state: SearchState, byte: number): SearchState {
    for (let from = state; ; from = this.#shorter[from] ?? 0) {
      const next = this.#next.get(from * 256 + byte);
      if (next !== undefined) return next;
      if (from === 0) return 0;
    }
  }

  #add(form: Buffer): void {
    let state: SearchState = 0;
    for (const byte of form) {
      let next = this.#next.get(state * 256 + byte);
      if (next === undefined) {
        next = this.#depth.push(this.depth(state) + 1) - 1;
        this.#found.push(0);
        this.#next.set(state * 256 + byte, next);
      }
      state = next;
    }
    this.#found[state] = form.length;
    if (form[0] !== undefined) this.#begins[form[0]] = 1;
  }

  /** In the order of their depth, as each state's depends on a shorter one's. */
  #link(): void {
    const steps = [...this.#next].sort(([, a], [, b]) => this.depth(a) - this.depth(b));
    for (const [key, state] of steps) {
      const [parent, byte] = [Math.floor(key / 256), key % 256];
      const shorter = parent === 0 ? 0 : this.step(this.#shorter[parent] ?? 0, byte);
      this.#shorter[state] = shorter;
      this.#found[state] ||= this.found(shorter);
    }
  }
}
