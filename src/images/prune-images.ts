import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PrunedImage } from '../model/operations.ts';
import { removeResult } from './cached-step.ts';
import { describeDqdImage } from './dqd-image.ts';
import type { MadeImages } from './made-images.ts';
import type { ServedImages } from './served-images.ts';

type Images = {
  readonly made: MadeImages;
  readonly served: ServedImages;
  /** The engine, where there is one, forgets a dqd image. */
  readonly unload: (reference: string) => Promise<void>;
};

/**
 * Removes the images that operations made and that nothing needs any more. Kept are, of each entry, those of the version that is served and
 * of the one before it, and the first ones; VMs that still run on another have its files open.
 * @param options.claim The right to change the images of an entry, for as long as it takes to remove one: what is being removed must
 * not begin to serve. Null where somebody else changes them: then all of it is left alone.
 */
export async function pruneImages(
  { made, served, unload }: Images,
  { claim, dryRun }: { claim: (entry: string) => Disposable | null; dryRun: boolean },
): Promise<PrunedImage[]> {
  const pruned: PrunedImage[] = [];
  for (const { entry, ...image } of await made.list()) {
    using claimed = claim(entry);
    if (!claimed) continue;
    const record = await served.read(entry);
    const kept = [record?.served, record?.previous].some((ref) => ref?.version === image.version);
    if (kept) continue;
    const bytes = await bytesOf(image.directory);
    if (!dryRun) {
      if (image.kind === 'dqd') await unload(describeDqdImage(entry, image.directory).reference);
      if (!(await removeResult(image.directory))) continue;
      await made.forget(entry, image);
    }
    pruned.push({ entry, kind: image.kind, version: image.version, bytes });
  }
  return pruned;
}

/** Of all files below it; 0 for a folder that is not there. */
async function bytesOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((item) => item.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).blocks * 512),
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
