import type { Entry } from '../catalog/catalog.ts';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { findVmImages, openMadeImage } from './ensure-vm-image.ts';
import type { ImageRequest } from './image-request.ts';
import type { ServedImages } from './served-images.ts';

type Open = (signal: AbortSignal) => Promise<VmImage>;

/**
 * How the image that each entry serves is opened; entries without one are left out. Where it is damaged, the one before it serves, and then
 * the one that a start makes.
 */
export async function findImages(
  catalog: readonly Entry[],
  request: Omit<ImageRequest, 'entry' | 'version'>,
  { served, logger }: { served: ServedImages; logger: Logger },
): Promise<Map<string, Open>> {
  const images: Map<string, Open> = await findVmImages(catalog, request);
  for (const { name: entry } of catalog) {
    const record = await served.read(entry);
    if (!record?.served) continue;
    const refs = [record.served, record.previous].filter((ref) => ref !== null);
    const made = refs.map(({ version, directory }): Open => {
      return (signal) => openMadeImage(directory, { ...request, entry, version, signal });
    });
    const first = images.get(entry);
    images.set(entry, openFirstWhole([...made, ...(first ? [first] : [])], logger));
  }
  return images;
}

function openFirstWhole(ways: readonly Open[], logger: Logger): Open {
  return async (signal) => {
    let damage: unknown = null;
    for (const open of ways) {
      try {
        return await open(signal);
      } catch (error) {
        if (KilnError.from(error).code !== 'IMAGE_CORRUPT') throw error;
        logger.error({ error }, 'a VM image is damaged; the one before it serves, where there is one');
        damage ??= error;
      }
    }
    throw damage;
  };
}
