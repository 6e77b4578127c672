import { dirname, join } from 'node:path';
import { ensureSigningKey } from '../../evidence/signing-key.ts';
import { provenanceName, sbomName } from '../../evidence/verify-evidence.ts';
import { readIfThere } from '../../lib/files.ts';
import type { EvidenceKind } from '../../model/operations.ts';
import type { VmImage } from '../../model/vm-image.ts';
import { ensureBinaries } from '../binaries.ts';
import { ensureCtrImage } from '../ctr-image.ts';
import type { ImageRequest } from '../image-request.ts';
import { entryOf, makingOf } from '../making.ts';
import { readImageDigest } from '../vm-image-files.ts';
import { takePrograms } from './programs-inside.ts';
import { ensureEvidence } from './write-evidence.ts';

/** Who signs what is told of images: the installation, by the key in this folder. */
export type Signing = { readonly installation: string; readonly keyDirectory: string };

/** Where the evidence of a rebuild lies, and since when its images are there (RFC 3339). */
export type Evidence = { readonly directory: string; readonly created: string };

const vmFiles = ['kernel', 'initrd', 'disk.qcow2', 'versions.json', 'manifest.json'];

/**
 * The evidence of the images that a rebuild made, which this finds in the caches by the same request.
 * @param images.dqd Digest of the dqd image's manifest, null where none was made.
 * @throws KilnError INFRA; the signal's reason on abort
 */
export async function ensureRebuildEvidence(
  request: ImageRequest & { readonly version: string },
  images: { readonly vm: VmImage; readonly dqd: string | null },
  { signing, operation }: { signing: Signing; operation: { readonly id: string; readonly started: string } },
): Promise<Evidence> {
  const { version, args, noCache, sources, imagesDirectory, signal } = request;
  // All of it is there: nobody needs to be told so again.
  const quiet = { ...request, progress: () => undefined };
  const { pins } = await makingOf(request);
  const { source, materials, ...ctr } = await ensureCtrImage(quiet);
  const directory = dirname(images.vm.disk);
  // What a Dockerfile of somebody's own left of the programs is only in the image.
  await using inside = entryOf(request).derivation ? await takePrograms(ctr, signal) : null;
  const binaries = inside?.directory ?? (await ensureBinaries(quiet, pins));
  const { created } = await ensureEvidence(
    {
      ...{ version, directory, ctr, imagesDirectory },
      installation: signing.installation,
      key: await ensureSigningKey(signing.keyDirectory),
      entry: { ...entryOf(request), pins },
      files: vmFiles,
      distribution: images.vm.versions['distribution'] ?? '',
      dqd: images.dqd,
      binaries,
      materials,
      parameters: { args, noCache, sources, source },
      operation: { ...operation, ended: new Date().toISOString() },
    },
    signal,
  );
  return { directory, created };
}

/**
 * What lies in the folder of the image of this digest; null where it is not there.
 * @param directories Of all that may be that image. An operation that did not succeed leaves its version to the next one.
 */
export async function readEvidence(
  directories: readonly string[],
  digest: string,
  kind: EvidenceKind,
): Promise<string | null> {
  const name = kind === 'sbom' ? sbomName : provenanceName;
  for (const directory of directories) {
    if ((await readImageDigest(directory)) !== digest) continue;
    return readIfThere(join(directory, name));
  }
  return null;
}
