import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PrunedImage } from '../model/operations.ts';
import { removeResult } from './cached-step.ts';
import type { MadeImages } from './made-images.ts';
import type { ServedImages } from './served-images.ts';

/**
 * Removes the VM images that operations made and that nothing needs any more. Kept are, of each entry, the one that is served, the one
 * before it and the first; VMs that still run on another have its files open.
 * @param options.claim The right to change the images of an entry, for as long as it takes to remove one: what is being removed must
 * not begin to serve. Null where somebody else changes them: then all of it is left alone.
 */
export async function pruneImages(
  { made, served }: { made: MadeImages; served: ServedImages },
  { claim, dryRun }: { claim: (entry: string) => Disposable | null; dryRun: boolean },
): Promise<PrunedImage[]> {
  const pruned: PrunedImage[] = [];
  for (const { entry, ...image } of await made.list()) {
    using claimed = claim(entry);
    if (!claimed) continue;
    const record = await served.read(entry);
    const kept = [record?.served, record?.previous].some((ref) => ref?.directory === image.directory);
    if (kept) continue;
    const bytes = await bytesOf(image.directory);
    if (!dryRun && !(await removeResult(image.directory))) continue;
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
