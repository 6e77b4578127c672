/** One who waits for a thing of some kind. */
type Waiter<T> = PromiseWithResolvers<T> & {
  readonly kind: string;
  readonly onPlace: (place: number) => void;
  /** What it was told last; 0 before that. */
  place: number;
  /** When it came, in ms of this process. */
  readonly since: number;
};

export type Arrival = {
  readonly kind: string;
  readonly signal: AbortSignal;
  /** Its place among those that have to wait, 1 first, whenever that changes. */
  readonly onPlace: (place: number) => void;
  /** Before all others: it was served already, and lost what it got. */
  readonly first?: boolean;
};

/** Those in line for one thing. */
export type Waits = { readonly builds: number; readonly oldestSeconds: number };

/** Who waits, in order. INVARIANT: whoever left, for whatever reason, gets nothing any more. */
export class Line<T> {
  readonly #waiters: Waiter<T>[] = [];
  readonly #onLeave: () => void;

  /** @param onLeave Called when one has given up. */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  get length(): number {
    return this.#waiters.length;
  }

  /** How many wait for this, and for how long the first of them has, in seconds; 0 where nobody does. */
  waitsFor(kind: string): Waits {
    const those = this.#waiters.filter((waiter) => waiter.kind === kind);
    const first = Math.min(...those.map(({ since }) => since));
    return {
      builds: those.length,
      oldestSeconds: those.length === 0 ? 0 : (performance.now() - first) / 1000,
    };
  }

  /** What is waited for, in the order of the line. */
  kinds(): string[] {
    return this.#waiters.map(({ kind }) => kind);
  }

  /** Resolves when it is served. @throws the signal's reason, what `refuse` was told */
  async enter({ kind, signal, onPlace, first = false }: Arrival): Promise<T> {
    const since = performance.now();
    const waiter: Waiter<T> = { ...Promise.withResolvers<T>(), kind, onPlace, place: 0, since };
    if (first) this.#waiters.unshift(waiter);
    else this.#waiters.push(waiter);
    const leave = (): void => {
      if (!this.#remove(waiter)) return;
      waiter.reject(signal.reason);
      this.#onLeave();
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await waiter.promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Asks `find` for each in order, and serves those it finds something for. */
  serve(find: (kind: string) => T | null): void {
    for (const waiter of [...this.#waiters]) {
      const thing = find(waiter.kind);
      if (thing === null) continue;
      this.#remove(waiter);
      waiter.resolve(thing);
    }
  }

  /** Sends away all, or all of one kind. */
  refuse(error: Error, kind?: string): void {
    for (const waiter of [...this.#waiters]) {
      if (kind !== undefined && waiter.kind !== kind) continue;
      this.#remove(waiter);
      waiter.reject(error);
    }
  }

  /** Tells places to those who do not know theirs yet; the first `coming` have none, as they are being served. */
  announce(coming: number): void {
    for (const [index, waiter] of this.#waiters.entries()) {
      const place = index + 1 - coming;
      if (place <= 0 || place === waiter.place) continue;
      waiter.place = place;
      waiter.onPlace(place);
    }
  }

  #remove(waiter: Waiter<T>): boolean {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    return index >= 0;
  }
}
