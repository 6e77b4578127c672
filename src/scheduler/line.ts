/** What is waited for: a VM of an entry, by its name; null for room for a VM that is nobody else's business. */
export type Kind = string | null;

type Waiter = {
  readonly kind: Kind;
  readonly tenant: string | null;
  /** Whose turn comes when: within a round each tenant has one. */
  readonly round: number;
  /** Gives it what it waits for, where that is there. */
  readonly serve: (ahead: readonly Kind[]) => boolean;
  readonly refuse: (reason: unknown) => void;
  readonly onPlace: (place: number) => void;
  /** What it was told last; 0 before that. */
  place: number;
  /** When it came, in ms of this process. */
  readonly since: number;
};

export type Arrival<T> = {
  readonly kind: Kind;
  /** Who waits; null for the service itself, which comes after all that wait already. */
  readonly tenant: string | null;
  /**
   * Takes what it waits for; null where that is not there.
   * @param ahead What those before it wait for still.
   */
  readonly take: (ahead: readonly Kind[]) => T | null;
  readonly signal: AbortSignal;
  /** Its place among those that have to wait, 1 first, whenever that changes. */
  readonly onPlace: (place: number) => void;
  /** Before all others: it was served already, and lost what it got. */
  readonly first?: boolean;
};

/** Those in line for one thing. */
export type Waits = { readonly builds: number; readonly oldestSeconds: number };

/**
 * Who waits, in order: first come, first served within a tenant, and tenants by turns, so that one that sends much makes itself wait and not
 * others (start-time fair queueing, each build counting as one). INVARIANT: whoever left, for whatever reason, gets nothing any more.
 */
export class Line {
  readonly #waiters: Waiter[] = [];
  /** That of who was served last. */
  #round = 0;
  /** Of each tenant, the round in which it was served last, where that is not over. */
  readonly #served = new Map<string, number>();
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

  /** How many of a tenant wait. */
  lengthOf(tenant: string): number {
    return this.#waiters.filter((waiter) => waiter.tenant === tenant).length;
  }

  /** What is waited for, in the order of the line. */
  kinds(): Kind[] {
    return this.#waiters.map(({ kind }) => kind);
  }

  /** Resolves when it is served. @throws the signal's reason, what `refuse` was told */
  async enter<T>({ kind, tenant, take, signal, onPlace, first = false }: Arrival<T>): Promise<T> {
    const since = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const serve = (ahead: readonly Kind[]): boolean => {
      const thing = take(ahead);
      if (thing !== null) resolve(thing);
      return thing !== null;
    };
    const round = first ? this.#round : this.#nextRound(tenant);
    const waiter: Waiter = { ...{ kind, tenant, round, serve, onPlace }, refuse: reject, place: 0, since };
    const later = first ? 0 : this.#waiters.findIndex((other) => other.round > round);
    this.#waiters.splice(later < 0 ? this.#waiters.length : later, 0, waiter);
    const leave = (): void => {
      if (!this.#remove(waiter)) return;
      reject(signal.reason);
      this.#onLeave();
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Serves, in order, those whose thing is there. */
  serve(): void {
    const ahead: Kind[] = [];
    for (const waiter of [...this.#waiters]) {
      if (!waiter.serve(ahead)) ahead.push(waiter.kind);
      else if (this.#remove(waiter)) this.#noteServed(waiter);
    }
  }

  /** Sends away all, or all of one kind. */
  refuse(error: Error, kind?: Kind): void {
    for (const waiter of [...this.#waiters]) {
      if (kind !== undefined && waiter.kind !== kind) continue;
      this.#remove(waiter);
      waiter.refuse(error);
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

  /** The first in which the tenant has no turn yet. */
  #nextRound(tenant: string | null): number {
    if (tenant === null) return Math.max(this.#round, ...this.#waiters.map(({ round }) => round));
    const own = this.#waiters.filter((waiter) => waiter.tenant === tenant).map(({ round }) => round);
    const last = Math.max(this.#served.get(tenant) ?? -1, ...own);
    return Math.max(this.#round, last + 1);
  }

  #noteServed({ tenant, round }: Waiter): void {
    if (tenant !== null) this.#served.set(tenant, round);
    if (round <= this.#round) return;
    this.#round = round;
    for (const [other, last] of this.#served) if (last < round) this.#served.delete(other);
  }

  #remove(waiter: Waiter): boolean {
    const index = this.#waiters.indexOf(waiter);
    if (index >= 0) this.#waiters.splice(index, 1);
    return index >= 0;
  }
}
