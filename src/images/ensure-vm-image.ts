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
import type { ImageRequest } from './image-request.ts';
import { openVmImage, writeManifest } from './vm-image-files.ts';

/**
 * Returns the VM image of an archive entry, making it where it is not there: binaries from their Go modules, a base, and the
 * Dockerfile built by a buildkitd on this host. Every step is cached by what it is made from; an interrupted one begins anew.
 * @throws KilnError BUILDKIT_UNKNOWN, REQUIREMENT_MISSING, INFRA, IMAGE_CORRUPT
 */
export async function ensureVmImage(request: ImageRequest): Promise<VmImage> {
  const { pins } = findEntry(await listEntries(request.imagesDirectory), request.entry);
  const directory = await cachedStep(
    {
      name: stepName,
      what: request.entry,
      inputs: imageInputs(await readRecipe(request), pins),
      make: (unfinished) => makeImage(request, pins, unfinished),
    },
    request,
  );
  return openVmImage({ entry: request.entry, directory, record: sealRecord(request) }, request.signal);
}

/** How each VM image that was made before is opened, by entry; none is made. Opening it throws as `openVmImage` does. */
export async function findVmImages(
  catalog: readonly Entry[],
  request: Omit<ImageRequest, 'entry'>,
): Promise<Map<string, (signal: AbortSignal) => Promise<VmImage>>> {
  const recipe = await readRecipe(request);
  const found = new Map<string, (signal: AbortSignal) => Promise<VmImage>>();
  for (const { name, pins } of catalog) {
    const directory = await findResult({ name: stepName, inputs: imageInputs(recipe, pins) }, request);
    const record = sealRecord({ ...request, entry: name });
    if (directory !== null)
      found.set(name, (signal) => openVmImage({ entry: name, directory, record }, signal));
  }
  return found;
}

function sealRecord({
  sealsDirectory,
  entry,
}: Pick<ImageRequest, 'sealsDirectory' | 'entry'>): string | null {
  return sealsDirectory && join(sealsDirectory, `${entry}.json`);
}

const stepName = 'image';

/** Of the Dockerfile, what comes before the stages of dqd images is what VM images are made by. */
const firstDqdStage = /^FROM \S+ AS qemu$/m;

type Recipe = { readonly sources: string; readonly files: readonly (string | Buffer)[] };

/** Recipe and files. What a registry or a package archive serves today is no input: an image stays until one of these changes. */
async function readRecipe({ imagesDirectory, sources }: Omit<ImageRequest, 'entry'>): Promise<Recipe> {
  const [stages = ''] = (await readFile(join(imagesDirectory, 'Dockerfile'), 'utf8')).split(firstDqdStage);
  const names = [...binariesRecipe, 'configure.sh', 'make-disk.sh', 'packages.txt'];
  const files = await Promise.all(names.map((name) => readFile(join(imagesDirectory, name))));
  return { sources, files: [stages, ...files, ...(await readTree(join(imagesDirectory, 'rootfs')))] };
}

function imageInputs({ sources, files }: Recipe, pins: Pins): (string | Buffer)[] {
  return [sources, JSON.stringify(pins), ...files];
}

async function makeImage(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  await using work = await prepareBuilder(request, 'vm');
  const bins = join(await ensureBinaries(request, pins), 'out');
  const source = await chooseSource(request, pins.BASE_IMAGE, work.builder);
  const base = source === 'packages' ? await ensureBase(request, pins) : null;
  const contexts = [...folderContext('bins', dirname(bins)), ...(base ? layoutContext('base', base) : [])];
  const output = `type=local,dest=${directory}`;
  await work.build({ target: 'vm', contexts, args: pins, output });
  await writeManifest({ directory, entry: request.entry, source }, request.signal);
}
