import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { tryToRemove } from '../lib/files.ts';
import type { PrunedImage } from '../model/operations.ts';
import type { MadeImages } from './made-images.ts';
import type { ServedImages } from './served-images.ts';

/**
 * Removes the VM images that operations made and that nothing needs any more. Kept are, of each entry, the one that is served, the one
 * before it and the first; VMs that still run on another have its files open.
 * @param options.isBusy Whether the image of an entry is being changed: then all of it is left alone.
 */
export async function pruneImages(
  { made, served }: { made: MadeImages; served: ServedImages },
  { isBusy, dryRun }: { isBusy: (entry: string) => boolean; dryRun: boolean },
): Promise<PrunedImage[]> {
  const pruned: PrunedImage[] = [];
  for (const { entry, ...image } of await made.list()) {
    if (isBusy(entry)) continue;
    const record = await served.read(entry);
    const kept = [record?.served, record?.previous].some((ref) => ref?.directory === image.directory);
    if (kept) continue;
    const bytes = await bytesOf(image.directory);
    if (!dryRun && !(await tryToRemove(image.directory))) continue;
    if (!dryRun) await made.forget(entry, image);
    pruned.push({ entry, version: image.version, bytes });
  }
  return pruned;
}

/** 0 for a folder that is not there. */
async function bytesOf(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(
    names.map(async (name) => (await stat(join(directory, name))).blocks * 512),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
