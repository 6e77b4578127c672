import { waitIn } from './wait-in.ts';

/** The right to do one of a bounded number of things at once. Disposing it lets the next in. */
export type Permit = Disposable;

/** Gives out at most `size` permits at once, in the order they were asked for. */
export class Semaphore {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(size: number) {
    this.#free = size;
  }

  /** How many can be had without waiting. */
  get free(): number {
    return this.#free;
  }

  /** @throws the reason of the signal, which ends the wait; no permit is taken then */
  async acquire(signal?: AbortSignal): Promise<Permit> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free -= 1;
    else await waitIn(this.#waiting, signal);
    let given = true;
    return {
      [Symbol.dispose]: () => {
        if (!given) return;
        given = false;
        const [next] = this.#waiting;
        if (next) next();
        else this.#free += 1;
      },
    };
  }
}
