import type { EgressDestination } from '../model/build.ts';

/** A hostile build may try any number of destinations; this many are kept. */
const maxDestinations = 1000;

/** Every destination one build tried, with how often. */
export class EgressRecord {
  readonly #destinations = new Map<string, EgressDestination>();
  readonly #onNew: (destination: EgressDestination) => void;

  /** @param onNew Called at the first connection to each destination. */
  constructor(onNew: (destination: EgressDestination) => void) {
    this.#onNew = onNew;
  }

  add({ host, port, address, allowed }: Omit<EgressDestination, 'connections'>): void {
    const key = `${host}:${port}:${allowed}`;
    const known = this.#destinations.get(key);
    if (!known && this.#destinations.size >= maxDestinations) return;
    const destination = { host, port, address, allowed, connections: (known?.connections ?? 0) + 1 };
    this.#destinations.set(key, destination);
    if (!known) this.#onNew(destination);
  }

  list(): EgressDestination[] {
    return [...this.#destinations.values()];
  }
}
