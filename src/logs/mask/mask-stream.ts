import type { FormSearch, SearchState } from './form-search.ts';

const mask = Buffer.from('***');

/** From its first byte on, and up to the one behind its last. */
type Span = { readonly start: number; readonly end: number };

/**
 * Takes bytes as they come and gives them on, with `***` in place of each secret, also where one comes in several pieces: what may be the
 * beginning of one is held until it is known.
 */
export class MaskStream {
  readonly #search: FormSearch;
  #state: SearchState = 0;
  #held: Buffer = Buffer.alloc(0);
  /** Secrets in what is held. */
  #spans: Span[] = [];
  /** Whether what was given on ended within a secret. */
  #within = false;

  constructor(search: FormSearch) {
    this.#search = search;
  }

  /** Whether nothing is held. */
  get isIdle(): boolean {
    return this.#held.length === 0 && this.#state === 0;
  }

  push(bytes: Buffer): Buffer {
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#find(all, this.#held.length);
    return this.#giveOn(all, all.length - this.#search.depth(this.#state));
  }

  /** What is held: nothing follows. */
  end(): Buffer {
    this.#state = 0;
    return this.#giveOn(this.#held, this.#held.length);
  }

  #find(all: Buffer, from: number): void {
    const search = this.#search;
    let state = this.#state;
    for (let at = from; at < all.length; at += 1) {
      if (state === 0) {
        at = search.skip(all, at);
        if (at === all.length) break;
      }
      state = search.step(state, all[at] ?? 0);
      const length = search.found(state);
      if (length > 0) this.#mark({ start: at + 1 - length, end: at + 1 });
    }
    this.#state = state;
  }

  /** Those that touch are one. */
  #mark({ start, end }: Span): void {
    let first = start;
    for (let last = this.#spans.at(-1); last && last.end >= first; last = this.#spans.at(-1)) {
      first = Math.min(first, last.start);
      this.#spans.pop();
    }
    this.#spans.push({ start: first, end });
  }

  #giveOn(all: Buffer, until: number): Buffer {
    const parts: Buffer[] = [];
    let at = 0;
    for (const { start, end } of this.#spans) {
      if (start >= until) break;
      if (start > at) this.#within = false;
      parts.push(all.subarray(at, start), ...(this.#within ? [] : [mask]));
      this.#within = true;
      at = Math.min(end, until);
    }
    if (at < until) this.#within = false;
    parts.push(all.subarray(at, until));
    this.#held = Buffer.from(all.subarray(until));
    this.#spans = this.#spans
      .filter(({ end }) => end > until)
      .map(({ start, end }) => ({ start: Math.max(0, start - until), end: end - until }));
    return Buffer.concat(parts);
  }
}
