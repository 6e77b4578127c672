import { KilnError } from '../model/error.ts';

const retryAfterSeconds = 10;

/**
 * How many calls with streams there are at once, on all connections: each connection may open a hundred, each of which holds memory and, where
 * it reads a build, files.
 */
export class OpenCalls {
  readonly #max: number;
  #open = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** One more, until it is disposed. @throws KilnError NO_CAPACITY */
  enter(): Disposable {
    if (this.#open >= this.#max) {
      const message = `${this.#max} calls are open already; try again in ${retryAfterSeconds} seconds.`;
      throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
    }
    this.#open += 1;
    let isLeft = false;
    return {
      [Symbol.dispose]: () => {
        if (!isLeft) this.#open -= 1;
        isLeft = true;
      },
    };
  }
}
