import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Derivation } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import { KilnError } from '../model/error.ts';
import { ensureBase } from './base.ts';
import { ensureBinaries } from './binaries.ts';
import { cachedStep } from './cached-step.ts';
import { chooseSource } from './choose-source.ts';
import { sourceDateEpoch } from './epoch.ts';
import { folderDigest } from './folder-digest.ts';
import type { ImageBuilder, NamedContext, TargetBuild } from './image-builder.ts';
import type { ImageRequest } from './image-request.ts';
import { pinned, requireDigest } from './looked-up.ts';
import { entryOf, makingOf, nameOf } from './making.ts';
import { readLayoutDigest } from './oci-layout.ts';
import { aliasOf } from './publish/tags.ts';
import { ctrInputs, readRecipe } from './recipe.ts';

/** The root file system of a VM as a container image. */
export type CtrImage = {
  /** An OCI image layout that holds nothing else. */
  readonly layout: string;
  /** Of its manifest, `sha256:…`. */
  readonly digest: string;
  readonly source: 'registry' | 'packages';
  /** What else it is made of, by digest (`sha256:…`): `base`, and of a derived entry `ctr` and `dockerfile`, its folder. */
  readonly materials: Readonly<Record<string, string>>;
  /** Its folder in the cache. */
  readonly directory: string;
};

const recordSchema = z.object({
  source: z.enum(['registry', 'packages']),
  // Earlier kilns did not write them.
  materials: z.record(z.string(), z.string()).default({}),
});
const recordName = 'ctr.json';
const layoutName = 'layout';

/**
 * The ctr image of an entry, made where it is not there: of binaries from their Go modules, a base, and the Dockerfile; that of a derived
 * entry of such an image and its own Dockerfile.
 * @throws KilnError BUILDKIT_UNKNOWN, REQUIREMENT_MISSING, INFRA
 */
export async function ensureCtrImage(request: ImageRequest): Promise<CtrImage> {
  const making = await makingOf(request);
  const { derivation } = entryOf(request);
  const directory = await cachedStep(
    {
      // One of its own, as the image that it goes on from is made within it.
      name: derivation ? 'derived' : 'ctr',
      what: nameOf(request),
      inputs: ctrInputs(await readRecipe(request), making),
      async make(unfinished) {
        const made = derivation
          ? await makeDerived(request, derivation, unfinished)
          : await makeCtr(request, making.pins, unfinished);
        await writeFile(join(unfinished, recordName), `${JSON.stringify(made)}\n`);
      },
    },
    request,
  );
  const layout = join(directory, layoutName);
  const record = recordSchema.parse(JSON.parse(await readFile(join(directory, recordName), 'utf8')));
  return { ...record, layout, digest: await readLayoutDigest(layout), directory };
}

/** What it is made from besides pins and recipe; of a derived entry, the ctr image that it goes on from, too. */
type MadeFrom = Pick<CtrImage, 'source' | 'materials'>;

type Base = Pick<CtrImage, 'source' | 'digest'> & Pick<TargetBuild, 'contexts' | 'args'>;

async function makeCtr(request: ImageRequest, pins: Pins, directory: string): Promise<MadeFrom> {
  await using builder = await request.openBuilder(request, 'ctr');
  const bins = await ensureBinaries(request, pins);
  const { source, digest, contexts, args } = await takeBase(request, pins, builder);
  await builder.build({
    ...{ target: 'ctr', own: null },
    args: { ...args, SOURCE_DATE_EPOCH: sourceDateEpoch },
    contexts: [{ stage: 'bins', kind: 'folder', path: bins }, ...contexts],
    output: layoutIn(directory, source),
  });
  return { source, materials: { base: digest } };
}

/** Wherever it comes from, exactly what its digest says is taken. */
async function takeBase(request: ImageRequest, pins: Pins, builder: ImageBuilder): Promise<Base> {
  const chosen = await chooseSource(request, pins.BASE_IMAGE, builder);
  if (chosen.source === 'registry')
    return { ...chosen, contexts: [], args: { ...pins, BASE_IMAGE: pinned(pins.BASE_IMAGE, chosen.digest) } };
  const base = await ensureBase(request, pins);
  return { source: 'packages', digest: base.digest, contexts: [base], args: pins };
}

async function makeDerived(
  request: ImageRequest,
  { base, reference, directory: own }: Derivation,
  directory: string,
): Promise<MadeFrom> {
  const dockerfile = await folderDigest(own);
  // Before the builder, which there is one of: this may need it, too.
  const ctr = reference === aliasOf('ctr', base) ? await ensureCtrImage(baseOf(request, base)) : null;
  const source = ctr?.source ?? 'registry';
  await using builder = await request.openBuilder(request, 'ctr');
  const digest = ctr ? ctr.digest : requireDigest(reference, await builder.lookUp(reference));
  await builder.build({
    ...{ target: 'ctr', own, args: { SOURCE_DATE_EPOCH: sourceDateEpoch } },
    contexts: inPlaceOf(reference, ctr ?? digest),
    output: layoutIn(directory, source),
  });
  if ((await folderDigest(own)) !== dockerfile)
    throw new KilnError('INFRA', `${own} was changed while the image was made of it; make it again.`);
  return {
    source,
    materials: { ...ctr?.materials, ctr: digest, dockerfile: `sha256:${dockerfile}` },
  };
}

/** The base of Debian packages is compressed by zstd, which is what goes through slow places; with it those above it. */
function layoutIn(directory: string, source: CtrImage['source']): TargetBuild['output'] {
  const compression = source === 'packages' ? 'zstd' : 'gzip';
  return { kind: 'layout', directory: join(directory, layoutName), compression };
}

/** What stands for what FROM says; nothing need do so where that has a digest. */
function inPlaceOf(reference: string, image: CtrImage | string): NamedContext[] {
  if (typeof image !== 'string')
    return [{ stage: reference, kind: 'layout', path: image.layout, digest: image.digest }];
  const exact = pinned(reference, image);
  return exact === reference ? [] : [{ stage: reference, kind: 'remote', reference: exact }];
}

/** All that derive from an entry go on from its first image, unless packages are to be fetched anew: then it is made for this image alone. */
function baseOf(request: ImageRequest, base: string): ImageRequest {
  return {
    ...request,
    entry: base,
    version: request.noCache ? `${request.version} of ${request.entry}` : null,
  };
}
