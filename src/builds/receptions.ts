import { KilnError } from '../model/error.ts';

/** Each may hold 5 MiB, those of its form and its Dockerfile, and what of an archive is under way. */
const maxAtOnce = 128;
const retryAfterSeconds = 10;

/** Requests for builds that are being received. What each of them holds has a bound of its own; that of all together follows from their number. */
export class Receptions {
  #count = 0;

  /** One more, until it is disposed. @throws KilnError NO_CAPACITY */
  enter(): Disposable {
    if (this.#count >= maxAtOnce) {
      const message = `${maxAtOnce} builds are being uploaded already; try again in ${retryAfterSeconds} seconds.`;
      throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
    }
    this.#count += 1;
    let isLeft = false;
    return {
      [Symbol.dispose]: () => {
        if (!isLeft) this.#count -= 1;
        isLeft = true;
      },
    };
  }
}
