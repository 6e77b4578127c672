import { type Entry, listArchive } from './catalog.ts';
import { listDerivedEntries } from './derived-entries.ts';

/**
 * The catalog: the archive's entries, then those that were derived from them.
 * @param entriesDirectory KILN_ENTRIES_DIR; null for none.
 * @throws KilnError CONFIG_INVALID as `listArchive` and `listDerivedEntries`
 */
export async function listEntries(
  imagesDirectory: string,
  entriesDirectory: string | null,
): Promise<readonly Entry[]> {
  const archive = await listArchive(imagesDirectory);
  const derived = entriesDirectory === null ? [] : await listDerivedEntries(entriesDirectory, archive);
  return [...archive, ...derived];
}
