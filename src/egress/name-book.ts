import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';

/** 198.18.0.0/15, which is for benchmarks (RFC 2544) and leads nowhere on the internet. */
const base = (198 << 8) | 18;
const size = 2 ** 17;
/** A hostile guest asks for any number of names: those asked for last are kept. */
const defaultMaxNames = 32_768;

/**
 * The addresses that stand for names in one VM. A guest that looks a name up gets such an address and connects to it; kiln then
 * knows the name, for every protocol, and picks the real address itself. The same name has the same address in every VM, but
 * where two names want the same.
 */
export class NameBook {
  readonly #maxNames: number;
  /** Those asked for last at the end. */
  readonly #slots = new Map<string, number>();
  readonly #names = new Map<number, string>();

  constructor(maxNames = defaultMaxNames) {
    this.#maxNames = maxNames;
  }

  /** IPv4 in four decimals. */
  addressOf(name: string): string {
    const slot = this.#slots.get(name) ?? this.#freeSlot(name);
    this.#slots.delete(name);
    this.#slots.set(name, slot);
    this.#names.set(slot, name);
    return formatSlot(slot);
  }

  /** Null for an address that stands for no name. */
  nameOf(address: string): string | null {
    const slot = parseSlot(address);
    return slot === null ? null : (this.#names.get(slot) ?? null);
  }

  #freeSlot(name: string): number {
    if (this.#slots.size >= this.#maxNames) this.#forgetOldest();
    let slot = createHash('sha256').update(name).digest().readUInt32BE() % size;
    while (this.#names.has(slot) || isAwkward(slot)) slot = (slot + 1) % size;
    return slot;
  }

  #forgetOldest(): void {
    const [oldest] = this.#slots;
    if (!oldest) return;
    this.#slots.delete(oldest[0]);
    this.#names.delete(oldest[1]);
  }
}

/** Last numbers 0 and 255: programs take them for networks and broadcasts. */
function isAwkward(slot: number): boolean {
  return (slot & 255) === 0 || (slot & 255) === 255;
}

function formatSlot(slot: number): string {
  const upper = base + (slot >> 16);
  return [upper >> 8, upper & 255, (slot >> 8) & 255, slot & 255].join('.');
}

function parseSlot(address: string): number | null {
  if (!isIPv4(address)) return null;
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  const high = ((a << 8) | b) - base;
  return high < 0 || high > 1 ? null : (high << 16) | (c << 8) | d;
}
