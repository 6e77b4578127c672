import { type Entry, findEntry } from '../catalog/catalog.ts';
import { KilnError } from '../model/error.ts';
import type { Kept } from '../scheduler/scheduler.ts';

/**
 * What is kept ready of which entry, the first one being that of builds that ask for none.
 * @param texts Of KILN_ENTRIES: `v0.20.2`, `buildkit-v0.12.5=1`, with the number of warm VMs.
 * @param standard What is kept of an entry that says no number; one that says 0 has no frozen VMs either.
 * @throws KilnError CONFIG_INVALID
 */
export function parseKeptEntries(
  texts: readonly string[],
  catalog: readonly Entry[],
  standard: Kept,
): Map<string, Kept> {
  const kept = new Map<string, Kept>();
  for (const text of texts) {
    const [, asked = '', count] = /^([^=]+?)(?:=(\d{1,6}))?$/.exec(text) ?? [];
    if (asked === '') throw invalid(`'${text}' is not an entry, or an entry=number.`);
    const { name } = find(catalog, asked);
    if (kept.has(name)) throw invalid(`${name} is named twice.`);
    const warm = count === undefined ? standard.warm : Number(count);
    kept.set(name, { warm, frozen: count !== undefined && warm === 0 ? 0 : standard.frozen });
  }
  return kept;
}

function find(catalog: readonly Entry[], asked: string): Entry {
  try {
    return findEntry(catalog, asked);
  } catch (error) {
    throw invalid(KilnError.from(error).message);
  }
}

function invalid(message: string): KilnError {
  return new KilnError('CONFIG_INVALID', `KILN_ENTRIES: ${message}`);
}
