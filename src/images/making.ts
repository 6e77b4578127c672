import { type Entry, findEntry } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import type { RebuildArgs } from '../model/operation.ts';
import { folderDigest } from './folder-digest.ts';
import type { ImageRequest } from './image-request.ts';

/** What an image is made of besides its recipe. */
export type Making = Pick<ImageRequest, 'version' | 'installation' | 'args' | 'noCache'> & {
  readonly pins: Pins;
  /** What the Dockerfile of a derived entry adds, by all that it depends on; null for an entry of the archive. */
  readonly derived: string | null;
};

/** What the images of this request are made of besides the recipe. */
export async function makingOf(request: ImageRequest): Promise<Making> {
  const { version, installation, args, noCache } = request;
  const { name, pins, derivation } = entryOf(request);
  const derived =
    derivation && `${name} from ${derivation.reference}, ${await folderDigest(derivation.directory)}`;
  return { version, installation, args, noCache, pins: { ...pins, ...given(args) }, derived };
}

export function entryOf({ catalog, entry }: Pick<ImageRequest, 'catalog' | 'entry'>): Entry {
  return findEntry(catalog, entry);
}

/** What of the arguments takes the place of pins. */
function given({ QEMU_IMAGE: _ofDqd, ...args }: RebuildArgs): Partial<Pins> {
  return Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined));
}

/** An image, as people are told of it. */
export function nameOf({ entry, version }: Pick<ImageRequest, 'entry' | 'version'>): string {
  return [entry, version].filter((word) => word !== null).join(' ');
}
