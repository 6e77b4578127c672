import { KilnError } from '../model/error.ts';

/** The right to run one build. Disposing it lets the next one in. */
export type Slot = Disposable;

type Waiter = PromiseWithResolvers<Slot> & { readonly onPlace: (place: number) => void };

/** A build takes some seconds at least: when to come back to a full queue. */
const retryAfterSeconds = 10;

/**
 * Builds that wait, in the order they came.
 *
 * INVARIANTS: at most `slots` slots are out; nobody waits while one is free; a slot given back goes to the first in line.
 */
export class Queue {
  readonly #options: { slots: number; limit: number };
  readonly #waiters: Waiter[] = [];
  #taken = 0;
  #closed = false;
  #idle = Promise.withResolvers<void>();

  /** @param options.limit How many may wait; the next is refused. */
  constructor(options: { slots: number; limit: number }) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /**
   * Resolves with a slot as soon as there is one. `onPlace` tells the place in line, 1 first, whenever that changes. What makes
   * waiting pointless is thrown at once and not later. @throws KilnError NO_CAPACITY when the line is full, DRAINING when closed.
   */
  enter(options: { signal: AbortSignal; onPlace: (place: number) => void }): Promise<Slot> {
    const { signal, onPlace } = options;
    signal.throwIfAborted();
    this.refuseIfFull();
    if (this.#taken < this.#options.slots) return Promise.resolve(this.#take());
    return this.#wait(signal, onPlace);
  }

  /** For whoever would do work before entering in vain. @throws KilnError NO_CAPACITY, DRAINING */
  refuseIfFull(): void {
    if (this.#closed) throw draining();
    if (this.#taken < this.#options.slots || this.#waiters.length < this.#options.limit) return;
    const message = `${this.#waiters.length} builds are waiting already; try again in ${retryAfterSeconds} seconds.`;
    throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
  }

  /** Refuses newcomers and whoever waits; resolves when every slot is back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(draining());
    if (this.#taken > 0) await this.#idle.promise;
  }

  async #wait(signal: AbortSignal, onPlace: (place: number) => void): Promise<Slot> {
    const waiter: Waiter = { ...Promise.withResolvers<Slot>(), onPlace };
    this.#waiters.push(waiter);
    onPlace(this.#waiters.length);
    const leave = (): void => {
      const index = this.#waiters.indexOf(waiter);
      if (index < 0) return;
      this.#waiters.splice(index, 1);
      this.#announcePlaces(index);
      waiter.reject(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await waiter.promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #take(): Slot {
    this.#taken += 1;
    let given = false;
    return {
      [Symbol.dispose]: () => {
        if (given) return;
        given = true;
        this.#giveBack();
      },
    };
  }

  #giveBack(): void {
    this.#taken -= 1;
    const next = this.#waiters.shift();
    if (next) {
      next.resolve(this.#take());
      this.#announcePlaces(0);
    } else if (this.#taken === 0) {
      this.#idle.resolve();
      this.#idle = Promise.withResolvers();
    }
  }

  #announcePlaces(from: number): void {
    for (const [index, waiter] of this.#waiters.entries()) if (index >= from) waiter.onPlace(index + 1);
  }
}

function draining(): KilnError {
  return new KilnError('DRAINING', 'The service is stopping; send the build again in a moment.');
}
