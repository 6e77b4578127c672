import { copyFile, link, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Pins } from '../catalog/pins.ts';
import { exists } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';
import type { ImageRequest } from './image-request.ts';

/** What the target `vm` of images/Dockerfile puts out. */
export const vmFiles = ['kernel', 'initrd', 'disk.qcow2', 'versions.json'] as const;
const versionsSchema = z.object({ buildkit: z.string(), runc: z.string() });

/** Where the first VM image of an entry is taken from, if it lies there: what the target `vm` of images/Dockerfile made elsewhere. */
export function givenFolder({
  cacheDirectory,
  entry,
}: Pick<ImageRequest, 'cacheDirectory' | 'entry'>): string {
  return join(cacheDirectory, 'given', entry);
}

/**
 * Puts the files of a VM image that was given into a folder, where there is one: they are the same files by another name, so that
 * whoever gives another image later puts new ones in their place.
 * @returns false where none was given
 * @throws KilnError CONFIG_INVALID for the image of another entry, or a part of one
 */
export async function takeGivenImage(
  request: Pick<ImageRequest, 'cacheDirectory' | 'entry' | 'progress'>,
  pins: Pins,
  directory: string,
): Promise<boolean> {
  const folder = givenFolder(request);
  const versions = join(folder, 'versions.json');
  if (!(await exists(versions))) return false;
  const found = parseVersions(await readFile(versions, 'utf8'));
  if (found?.buildkit.split(' ')[2] !== pins.BUILDKIT_VERSION || found.runc !== pins.RUNC_VERSION) {
    throw new KilnError(
      'CONFIG_INVALID',
      `${folder} holds another VM image than that of ${request.entry}: its versions.json must name BuildKit ${pins.BUILDKIT_VERSION} and runc ${pins.RUNC_VERSION}.`,
    );
  }
  for (const name of vmFiles) {
    if (await exists(join(folder, name))) continue;
    const message = `${folder} has no ${name}; copy all there that the target vm of images/Dockerfile made: ${vmFiles.join(', ')}.`;
    throw new KilnError('CONFIG_INVALID', message);
  }
  request.progress(`source  ${folder}`);
  for (const name of vmFiles) await linkOrCopy(join(folder, name), join(directory, name));
  return true;
}

function parseVersions(text: string): z.infer<typeof versionsSchema> | null {
  try {
    return versionsSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    // Of another user, or on another file system.
    await copyFile(from, to);
  }
}
