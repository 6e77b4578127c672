import { createHash } from 'node:crypto';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hashFile } from '../lib/hash.ts';
import { SealedFiles } from '../lib/sealed-files.ts';
import { corruptImage, type VmImage } from '../model/vm-image.ts';
import type { ImageSource } from './image-request.ts';

const versionsSchema = z.record(z.string(), z.string());
const fileSchema = z.object({ sha256: z.string(), bytes: z.number() });
const manifestSchema = z.object({
  entry: z.string(),
  source: z.enum(['registry', 'packages', 'given']),
  versions: versionsSchema,
  files: z.object({ kernel: fileSchema, initrd: fileSchema, 'disk.qcow2': fileSchema }),
});
const fileNames = ['kernel', 'initrd', 'disk.qcow2'] as const;

/**
 * The image of a folder, whose files look as its manifest says.
 * @param record Where it is remembered what they looked like when they were last read; null: every byte is read each time.
 * @throws KilnError IMAGE_CORRUPT
 */
export async function openVmImage(
  { entry, directory, record }: { entry: string; directory: string; record: string | null },
  signal: AbortSignal,
): Promise<VmImage> {
  const path = join(directory, 'manifest.json');
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw corruptImage(entry, directory, `${path} cannot be read (${error.message})`);
  });
  const manifest = parseManifest(text);
  if (!manifest) throw corruptImage(entry, directory, `${path} is no manifest of an image`);
  const hashes = fileNames.map((name) => [join(directory, name), manifest.files[name].sha256] as const);
  const sealed = new SealedFiles(Object.fromEntries(hashes), { record });
  const damage = await sealed.look(signal);
  if (damage !== null) throw corruptImage(entry, directory, damage);
  return {
    entry: manifest.entry,
    digest: digestOf(text),
    versions: manifest.versions,
    kernel: join(directory, 'kernel'),
    initrd: join(directory, 'initrd'),
    disk: join(directory, 'disk.qcow2'),
    sealed,
  };
}

/** The digest of the image of a folder, whatever its files look like; null where there is none. */
export async function readImageDigest(directory: string): Promise<string | null> {
  return readFile(join(directory, 'manifest.json'), 'utf8').then(digestOf, () => null);
}

function digestOf(manifest: string): string {
  return `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
}

function parseManifest(text: string): z.infer<typeof manifestSchema> | null {
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Writes manifest.json beside the files of an image: every version, digest and size. */
export async function writeManifest(
  { directory, entry, source }: { directory: string; entry: string; source: ImageSource | 'given' },
  signal: AbortSignal,
): Promise<void> {
  const versions = versionsSchema.parse(JSON.parse(await readFile(join(directory, 'versions.json'), 'utf8')));
  const describe = async (name: string): Promise<z.infer<typeof fileSchema>> => {
    const path = join(directory, name);
    // The VMs run as other users than the one who made the image.
    await chmod(path, 0o644);
    return { sha256: await hashFile(path, signal), bytes: (await stat(path)).size };
  };
  const files = {
    kernel: await describe('kernel'),
    initrd: await describe('initrd'),
    'disk.qcow2': await describe('disk.qcow2'),
  };
  const manifest = { entry, source, versions, files };
  await writeFile(join(directory, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}
