import type { KeptBytes } from './kept-bytes.ts';

/** The guest decides what it prints: names beyond these are numbered anew. */
const maxNames = 10_000;
/** Text is bytes, one a character. A longer name is not kept: its step is numbered anew. */
export const maxNameBytes = 4096;

/** Which number buildctl gave each step in the log: it says number and name at the log's beginning and after each empty line. */
export class StepNumbers {
  readonly #numbers = new Map<string, number>();
  readonly #kept: KeptBytes;
  #last = 0;
  /** What came after the last empty line, as far as it may be the beginning of a name. */
  #tail = '\n\n';

  constructor(kept: KeptBytes) {
    this.#kept = kept;
  }

  add(bytes: Buffer): void {
    const text = this.#tail + bytes.toString('latin1');
    for (const [, number = '', name = ''] of text.matchAll(/\n\n#(\d{1,6}) ([^\n]*)(?=\n)/g))
      this.#note(Number(number), name);
    const start = text.lastIndexOf('\n\n');
    const open = start < 0 ? text.slice(-1) : text.slice(start);
    const isWhole = open.slice(2).includes('\n') || open.length > maxNameBytes;
    this.#tail = isWhole ? text.slice(-1) : open;
  }

  /** The number of the step with this name; a new one where the log has not named it. */
  of(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#note(this.#last + 1, name);
    return this.#last;
  }

  #note(number: number, name: string): void {
    this.#last = Math.max(this.#last, number);
    if (name.length > maxNameBytes || this.#numbers.size >= maxNames || this.#numbers.has(name)) return;
    if (this.#kept.take(name.length)) this.#numbers.set(copy(name), number);
  }
}

/** A part of a text keeps the whole text in memory; a copy does not. */
function copy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}
