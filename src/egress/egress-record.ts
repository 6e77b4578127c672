import type { EgressDestination, Refusal, RefusalReason } from '../model/build.ts';

/** A hostile build may try any number of destinations: this many are kept of those it reached, and of those it did not. */
const maxDestinations = 1000;
/** That there is no such name is no rule of this service, and neither is that nobody answers. */
const rules: readonly RefusalReason[] = ['not-public', 'denied', 'not-in-only', 'network-none'];
/** Stands for all the others, of which only the numbers are kept. */
const others = { name: null, address: null, port: null, reason: null };

/** What is counted of a destination while its connections live. */
export type Contact = {
  announced: string | null;
  bytesIn: number;
  bytesOut: number;
};

type Seen = Omit<EgressDestination, keyof Contact | 'connections'>;
type Entry = Contact & Seen & { connections: number };

function describe({ name, address, port }: Seen): string {
  return `${name ?? address}${port === null ? '' : `:${port}`}`;
}

function keyOf({ name, address, port, reason }: Seen): string {
  return [name ?? address, port, reason].join(' ');
}

/** Every destination one build tried, with how often and how much. */
export class EgressRecord {
  readonly #entries = new Map<string, Entry>();
  readonly #counts = { reached: 0, not: 0 };
  readonly #onNew: (destination: EgressDestination) => void;

  /** @param onNew Called at the first contact with each destination. */
  constructor(onNew: (destination: EgressDestination) => void) {
    this.#onNew = onNew;
  }

  /** The last contact that a rule kept from coming about. */
  lastRefusal: Refusal | null = null;

  /** One more contact; what is written into the result is on record. */
  add(seen: Seen): Contact {
    const reason = rules.find((rule) => rule === seen.reason);
    if (reason) this.lastRefusal = { at: Date.now(), destination: describe(seen), reason };
    const key = keyOf(seen);
    if (this.#entries.has(key)) return this.#count(key, seen);
    const kind = seen.reason === null ? 'reached' : 'not';
    if (this.#counts[kind] >= maxDestinations) {
      const rest = { ...others, allowed: seen.allowed };
      return this.#count(`${keyOf(rest)} ${String(rest.allowed)}`, rest);
    }
    this.#counts[kind] += 1;
    return this.#count(key, seen);
  }

  #count(key: string, seen: Seen): Contact {
    const known = this.#entries.get(key);
    if (known) {
      known.connections += 1;
      return known;
    }
    const entry = { ...seen, announced: null, connections: 1, bytesIn: 0, bytesOut: 0 };
    this.#entries.set(key, entry);
    this.#onNew({ ...entry });
    return entry;
  }

  list(): EgressDestination[] {
    return [...this.#entries.values()].map((entry) => ({ ...entry }));
  }
}
