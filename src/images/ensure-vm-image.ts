import { join } from 'node:path';
import type { Entry } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import type { VmImage } from '../model/vm-image.ts';
import { cachedStep, findResult } from './cached-step.ts';
import { ensureCtrImage } from './ctr-image.ts';
import { takeGivenImage, vmFiles } from './given-image.ts';
import { firstImageOf, type HostImageRequest, type ImageRequest, type ImageSource } from './image-request.ts';
import { makingOf, nameOf } from './making.ts';
import { readRecipe, vmInputs } from './recipe.ts';
import { openVmImage, writeManifest } from './vm-image-files.ts';

const stepName = 'image';

/**
 * The VM image of an archive entry, made from its ctr image where it is not there and was not given. Every step is cached by what it is made from; an
 * interrupted one begins anew.
 * @throws KilnError BUILDKIT_UNKNOWN, CONFIG_INVALID, REQUIREMENT_MISSING, INFRA, IMAGE_CORRUPT
 */
export async function ensureVmImage(request: ImageRequest): Promise<VmImage> {
  const making = await makingOf(request);
  const directory = await cachedStep(
    {
      name: stepName,
      what: nameOf(request),
      inputs: vmInputs(await readRecipe(request), making),
      make: (unfinished) => makeImage(request, making.pins, unfinished),
    },
    request,
  );
  return openMadeImage(directory, request);
}

/** The folder of a VM image in the cache, with the record of what its files looked like. */
export function openMadeImage(
  directory: string,
  request: Pick<ImageRequest, 'sealsDirectory' | 'entry' | 'version' | 'signal'>,
): Promise<VmImage> {
  return openVmImage({ entry: request.entry, directory, record: sealRecord(request) }, request.signal);
}

/** How the first VM image of each entry is opened, where it was made before; none is made. Opening it throws as `openVmImage` does. */
export async function findVmImages(
  catalog: readonly Entry[],
  host: HostImageRequest,
): Promise<Map<string, (signal: AbortSignal) => Promise<VmImage>>> {
  const recipe = await readRecipe(host);
  const found = new Map<string, (signal: AbortSignal) => Promise<VmImage>>();
  for (const { name } of catalog) {
    const request = firstImageOf(name, host);
    const directory = await findResult(
      { name: stepName, inputs: vmInputs(recipe, await makingOf(request)) },
      request,
    );
    if (directory !== null) found.set(name, (signal) => openMadeImage(directory, { ...request, signal }));
  }
  return found;
}

function sealRecord({
  sealsDirectory,
  entry,
  version,
}: Pick<ImageRequest, 'sealsDirectory' | 'entry' | 'version'>): string | null {
  return (
    sealsDirectory &&
    join(sealsDirectory, `${[entry, ...(version === null ? [] : [version])].join('_')}.json`)
  );
}

async function makeImage(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  const given = request.version === null && (await takeGivenImage(request, pins, directory));
  const source = given ? 'given' : await buildImage(request, pins, directory);
  await writeManifest({ directory, entry: request.entry, source }, request.signal);
}

/** @returns what it was made from */
async function buildImage(request: ImageRequest, pins: Pins, directory: string): Promise<ImageSource> {
  const { layout, digest, source } = await ensureCtrImage(request);
  await using builder = await request.openBuilder(request, 'vm');
  await builder.build({
    ...{ target: 'vm', own: null },
    contexts: [{ stage: 'made-ctr', kind: 'layout', path: layout, digest }],
    args: pins,
    output: { kind: 'files', directory, names: vmFiles },
  });
  return source;
}
