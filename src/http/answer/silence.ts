import type { Writer } from './client.ts';

/** A line that grows while there is nothing else to say, as proxies close a connection on which nothing moves. */
export class Silence implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #dots = 0;

  constructor(writer: Pick<Writer, 'nudge'>, everyMs: number) {
    this.#timer = setInterval(() => writer.nudge(() => this.#grow()), everyMs);
  }

  #grow(): string {
    this.#dots += 1;
    return this.#dots === 1 ? 'kiln: still waiting .' : '.';
  }

  /** Something else is said now. @returns what ends the line, where there is one */
  end(): string {
    this.#timer.refresh();
    const end = this.#dots === 0 ? '' : '\n';
    this.#dots = 0;
    return end;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
