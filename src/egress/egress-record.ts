import type { EgressDestination } from '../model/build.ts';

/** A hostile build may try any number of destinations; this many are kept. */
const maxDestinations = 1000;

/** What is counted of a destination while its connections live. */
export type Contact = {
  announced: string | null;
  bytesIn: number;
  bytesOut: number;
};

type Entry = Contact & Omit<EgressDestination, keyof Contact | 'connections'> & { connections: number };

/** Every destination one build tried, with how often and how much. */
export class EgressRecord {
  readonly #entries = new Map<string, Entry>();
  readonly #onNew: (destination: EgressDestination) => void;

  /** @param onNew Called at the first contact with each destination. */
  constructor(onNew: (destination: EgressDestination) => void) {
    this.#onNew = onNew;
  }

  /** One more contact; what is written into the result is on record. */
  add(seen: Omit<EgressDestination, keyof Contact | 'connections'>): Contact {
    const key = [seen.name ?? seen.address, seen.port, seen.reason].join(' ');
    const known = this.#entries.get(key);
    if (known) {
      known.connections += 1;
      return known;
    }
    const entry = { ...seen, announced: null, connections: 1, bytesIn: 0, bytesOut: 0 };
    if (this.#entries.size >= maxDestinations) return entry;
    this.#entries.set(key, entry);
    this.#onNew({ ...entry });
    return entry;
  }

  list(): EgressDestination[] {
    return [...this.#entries.values()].map((entry) => ({ ...entry }));
  }
}
