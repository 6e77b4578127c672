import type { Entry } from '../catalog/catalog.ts';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { findVmImages, openMadeImage } from './ensure-vm-image.ts';
import type { HostImageRequest } from './image-request.ts';
import type { ServedImages } from './served-images.ts';

/** @throws KilnError IMAGE_CORRUPT */
export type OpenImage = (signal: AbortSignal) => Promise<VmImage>;

type Known = {
  readonly request: HostImageRequest;
  readonly served: ServedImages;
  readonly logger: Logger;
};

/** How the image that each entry serves is opened; entries without one are left out. */
export async function findImages(catalog: readonly Entry[], known: Known): Promise<Map<string, OpenImage>> {
  const firsts = await findVmImages(catalog, known.request);
  const images = new Map<string, OpenImage>();
  for (const { name } of catalog) {
    const first = firsts.get(name);
    if (first || (await known.served.read(name))) images.set(name, openServed(name, known, first));
  }
  return images;
}

/**
 * Opens what an entry serves at that time. Where that is damaged, the one before it serves, and then the first; what was passed over
 * is logged, what is thrown is not.
 * @param first How the image that a start makes is opened, where there is one.
 */
export function openServed(entry: string, { request, served, logger }: Known, first?: OpenImage): OpenImage {
  return async (signal) => {
    const record = await served.read(entry);
    const refs = record ? [record.served, record.previous] : [];
    const ways = refs
      .filter((ref) => ref !== null)
      .map(({ version, directory }): OpenImage => {
        return (linked) => openMadeImage(directory, { ...request, entry, version, signal: linked });
      });
    // Served itself, or the last that is left.
    if (first) ways.splice(record?.served === null ? 0 : ways.length, 0, first);
    const damages: unknown[] = [];
    const passOver = (error: unknown): void =>
      logger.error({ error, entry }, 'a VM image is damaged and passed over for the one before it');
    for (const open of ways) {
      try {
        const image = await open(signal);
        damages.forEach(passOver);
        return image;
      } catch (error) {
        if (KilnError.from(error).code !== 'IMAGE_CORRUPT') throw error;
        damages.push(error);
      }
    }
    const [newest = noImageLeft(entry), ...others] = damages;
    others.forEach(passOver);
    throw newest;
  };
}

function noImageLeft(entry: string): KilnError {
  const message = `There is no VM image of ${entry} any more; a caller with the role admin can make one: POST /admin/images/rebuild.`;
  return new KilnError('IMAGE_CORRUPT', message);
}
