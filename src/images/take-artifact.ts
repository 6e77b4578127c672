import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { hashFile } from '../lib/hash.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { readLayoutDigest } from './oci-layout.ts';

/** Far more than the layers of an image and its manifests. */
const maxMembers = 1000;
const layoutName = /^(oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/;
const blobName = /^blobs\/sha256\/([0-9a-f]{64})$/;

/**
 * The files of these names out of a tar that a VM put out, into a folder of this host. What comes out of a VM is not to be trusted: no name
 * of the tar becomes a path but those that are asked for, and nothing but plain files is taken.
 * @throws KilnError ARTIFACT_INVALID
 */
export async function takeFiles(
  tar: string,
  { directory, names }: { directory: string; names: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  const taken = await take(tar, { directory, wanted: (name) => names.includes(name) }, signal);
  const missing = names.find((name) => !taken.includes(name));
  if (missing !== undefined) throw invalid(`has no file ${missing}`);
}

/** An OCI image layout out of such a tar, of one image that is in it; each blob is what its name says. @throws KilnError ARTIFACT_INVALID */
export async function takeLayout(tar: string, directory: string, signal: AbortSignal): Promise<void> {
  const taken = await take(tar, { directory, wanted: (name) => layoutName.test(name) }, signal);
  for (const name of ['oci-layout', 'index.json']) if (!taken.includes(name)) throw invalid(`has no ${name}`);
  for (const name of taken) {
    const [, hash] = blobName.exec(name) ?? [];
    if (hash !== undefined && (await hashFile(join(directory, name), signal)) !== hash)
      throw invalid(`holds a blob that is not what its name says: ${hash}`);
  }
  const digest = await readLayoutDigest(directory).catch((cause: unknown) => {
    throw invalid('has an index.json that does not name one image', cause);
  });
  if (!taken.includes(`blobs/${digest.replace(':', '/')}`))
    throw invalid(`does not hold its image ${digest}`);
}

async function take(
  tar: string,
  { directory, wanted }: { directory: string; wanted: (name: string) => boolean },
  signal: AbortSignal,
): Promise<string[]> {
  const members = extract();
  const reading = pipeline(createReadStream(tar), members, { signal });
  // Told by whoever reads the members, too.
  reading.catch(() => undefined);
  const taken: string[] = [];
  try {
    for await (const member of members) {
      const name = nameOf(member.header);
      if (member.header.type === 'directory') member.resume();
      else if (member.header.type !== 'file' || !wanted(name) || taken.length === maxMembers)
        throw invalid(`holds '${printable(member.header.name)}', which was not asked for`);
      else {
        const path = join(directory, name);
        await mkdir(dirname(path), { recursive: true });
        // Never the same one twice.
        await pipeline(member, createWriteStream(path, { flags: 'wx' }), { signal });
        taken.push(name);
      }
    }
    await reading;
    return taken;
  } catch (error) {
    signal.throwIfAborted();
    if (isTwice(error)) throw invalid('holds a file twice');
    if (error instanceof Error && 'code' in error) throw error;
    throw invalid('is no tar', error);
  }
}

function nameOf({ name }: Header): string {
  return name.replace(/^\.\//, '');
}

function isTwice(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}

function invalid(how: string, cause?: unknown): KilnError {
  return new KilnError('ARTIFACT_INVALID', `What the VM made of the image ${how}.`, { cause });
}
