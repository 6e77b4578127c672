/** The right to do one of a bounded number of things at once. Disposing it lets the next in. */
export type Permit = Disposable;

/** Gives out at most `size` permits at once, in the order they were asked for. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#free = size;
  }

  async acquire(): Promise<Permit> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let given = true;
    return {
      [Symbol.dispose]: () => {
        if (!given) return;
        given = false;
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free += 1;
      },
    };
  }
}
