import { writeSync } from 'node:fs';

/** How long a reader that is slow may keep whoever writes, in ms. */
const patienceMs = 100;
const pauseMs = 5;

/** Lines that were not written, and why the last of them was not. */
export type LostLines = { readonly lines: number; readonly cause: unknown };

/**
 * Writes lines to a standard output of this process, each out when the call returns. A disk that is full, or a reader that has gone, is no
 * matter of whoever writes: the line is lost and counted, and all else goes on. Node's own streams end the process then.
 */
export class LineOutput {
  readonly #descriptor: number;
  readonly #onLost: (lost: LostLines) => void;
  #lost: LostLines | null = null;
  /** Of a line only the beginning could be written. */
  #isCut = false;

  /** @param onLost Told, once a line is written again, of those before it that were not. */
  constructor(descriptor: number, onLost: (lost: LostLines) => void = () => undefined) {
    this.#descriptor = descriptor;
    this.#onLost = onLost;
  }

  /** @param line With its newline. Never throws. */
  write(line: string): void {
    try {
      this.#writeAll(Buffer.from(this.#isCut ? `\n${line}` : line));
    } catch (cause) {
      this.#lost = { lines: (this.#lost?.lines ?? 0) + 1, cause };
      return;
    }
    this.#isCut = false;
    const lost = this.#lost;
    this.#lost = null;
    if (lost) this.#onLost(lost);
  }

  #writeAll(bytes: Buffer): void {
    // A reader that was waited for in vain is not waited for again until it takes something: each line would cost the whole patience.
    const deadline = performance.now() + (this.#lost ? 0 : patienceMs);
    for (let written = 0; written < bytes.length; ) {
      try {
        written += writeSync(this.#descriptor, bytes, written);
      } catch (error) {
        if (isBusy(error) && performance.now() < deadline) {
          pause();
          continue;
        }
        this.#isCut ||= written > 0;
        throw error;
      }
    }
  }
}

/** The reader of a pipe that does not block has not taken what it was sent before. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
}
