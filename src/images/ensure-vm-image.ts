import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Entry, findEntry, listEntries } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import type { VmImage } from '../model/vm-image.ts';
import { ensureBase } from './base.ts';
import { binariesRecipe, ensureBinaries } from './binaries.ts';
import { folderContext, layoutContext, prepareBuilder } from './build-target.ts';
import { cachedStep, findResult, readTree } from './cached-step.ts';
import { chooseSource } from './choose-source.ts';
import { takeGivenImage } from './given-image.ts';
import type { ImageRequest, ImageSource } from './image-request.ts';
import { openVmImage, writeManifest } from './vm-image-files.ts';

/**
 * Returns the VM image of an archive entry, making it where it is not there and was not given: binaries from their Go modules, a base,
 * and the Dockerfile built by a buildkitd on this host. Every step is cached by what it is made from; an interrupted one begins anew.
 * @throws KilnError BUILDKIT_UNKNOWN, CONFIG_INVALID, REQUIREMENT_MISSING, INFRA, IMAGE_CORRUPT
 */
export async function ensureVmImage(request: ImageRequest): Promise<VmImage> {
  const { pins } = findEntry(await listEntries(request.imagesDirectory), request.entry);
  const directory = await cachedStep(
    {
      name: stepName,
      what: [request.entry, request.version].filter((word) => word !== null).join(' '),
      inputs: imageInputs(await readRecipe(request), pins, request.version),
      make: (unfinished) => makeImage(request, pins, unfinished),
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
  request: Omit<ImageRequest, 'entry' | 'version'>,
): Promise<Map<string, (signal: AbortSignal) => Promise<VmImage>>> {
  const recipe = await readRecipe(request);
  const found = new Map<string, (signal: AbortSignal) => Promise<VmImage>>();
  for (const { name, pins } of catalog) {
    const directory = await findResult({ name: stepName, inputs: imageInputs(recipe, pins, null) }, request);
    if (directory !== null)
      found.set(name, (signal) =>
        openMadeImage(directory, { ...request, entry: name, version: null, signal }),
      );
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

const stepName = 'image';

/** Of the Dockerfile, what comes before the stages of dqd images is what VM images are made by. */
const firstDqdStage = /^FROM \S+ AS qemu$/m;

type Recipe = { readonly sources: string; readonly files: readonly (string | Buffer)[] };

/** Recipe and files. What a registry or a package archive serves today is no input: an image stays until one of these changes. */
async function readRecipe({
  imagesDirectory,
  sources,
}: Pick<ImageRequest, 'imagesDirectory' | 'sources'>): Promise<Recipe> {
  const [stages = ''] = (await readFile(join(imagesDirectory, 'Dockerfile'), 'utf8')).split(firstDqdStage);
  const names = [...binariesRecipe, 'configure.sh', 'make-disk.sh', 'packages.txt'];
  const files = await Promise.all(names.map((name) => readFile(join(imagesDirectory, name))));
  return { sources, files: [stages, ...files, ...(await readTree(join(imagesDirectory, 'rootfs')))] };
}

function imageInputs({ sources, files }: Recipe, pins: Pins, version: string | null): (string | Buffer)[] {
  return [sources, JSON.stringify(pins), ...(version === null ? [] : [`version ${version}`]), ...files];
}

async function makeImage(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  const given = request.version === null && (await takeGivenImage(request, pins, directory));
  const source = given ? 'given' : await buildImage(request, pins, directory);
  await writeManifest({ directory, entry: request.entry, source }, request.signal);
}

/** @returns what it was made from */
async function buildImage(request: ImageRequest, pins: Pins, directory: string): Promise<ImageSource> {
  await using work = await prepareBuilder(request, 'vm');
  const bins = join(await ensureBinaries(request, pins), 'out');
  const source = await chooseSource(request, pins.BASE_IMAGE, work.builder);
  const base = source === 'packages' ? await ensureBase(request, pins) : null;
  const contexts = [...folderContext('bins', dirname(bins)), ...(base ? layoutContext('base', base) : [])];
  const output = `type=local,dest=${directory}`;
  await work.build({ target: 'vm', contexts, args: pins, output });
  return source;
}
