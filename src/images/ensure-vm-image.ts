import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Entry, findEntry, listEntries } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import { ensureHostTools, imageTools } from '../host/host-tools.ts';
import { runStep } from '../host/run-step.ts';
import { shellQuote } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import { ensureBase } from './base.ts';
import { binariesRecipe, ensureBinaries } from './binaries.ts';
import { startBuilder, useBuilder } from './builder.ts';
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

type Recipe = { readonly sources: string; readonly files: readonly (string | Buffer)[] };

/** Recipe and files. What a registry or a package archive serves today is no input: an image stays until one of these changes. */
async function readRecipe({ imagesDirectory, sources }: Omit<ImageRequest, 'entry'>): Promise<Recipe> {
  const names = ['Dockerfile', ...binariesRecipe, 'configure.sh', 'make-disk.sh', 'packages.txt'];
  const files = await Promise.all(names.map((name) => readFile(join(imagesDirectory, name))));
  return { sources, files: [...files, ...(await readTree(join(imagesDirectory, 'rootfs')))] };
}

function imageInputs({ sources, files }: Recipe, pins: Pins): (string | Buffer)[] {
  return [sources, JSON.stringify(pins), ...files];
}

async function makeImage(request: ImageRequest, pins: Pins, directory: string): Promise<void> {
  if (!request.asRoot && request.buildkitHost === undefined) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `The VM image is made as root, once: ${commandAsRoot(request)}\nOr set BUILDKIT_HOST to a buildkitd that you may use.`,
    );
  }
  await ensureHostTools(imageTools, request);
  const bins = join(await ensureBinaries(request, pins), 'out');
  const tools = join(await ensureBinaries(request, await builderPins(request)), 'out');
  await using builder =
    request.buildkitHost === undefined
      ? await startBuilder(tools, request)
      : useBuilder(request.buildkitHost);
  const builtBy = { buildctl: join(tools, 'buildctl'), address: builder.address };
  const source = await chooseSource(request, pins, builtBy);
  const base = source === 'packages' ? await ensureBase(request, pins) : null;
  const contexts = [...binsContext(bins), ...(base ? baseContext(base) : [])];
  await buildImage({ request, pins, contexts, ...builtBy }, directory);
  await writeManifest({ directory, entry: request.entry, source }, request.signal);
}

/** One BuildKit makes the images of all entries: old ones cannot, `buildctl build --oci-layout` and named contexts are younger. */
const builderEntry = 'buildkit-v0.20.2';

async function builderPins({ imagesDirectory }: ImageRequest): Promise<Pins> {
  return findEntry(await listEntries(imagesDirectory), builderEntry).pins;
}

/** Not by npm, which in versions 7 and 8 runs a folder's scripts as its owner. What the image depends on passes through sudo. */
function commandAsRoot({ sharedCacheDirectory, cacheDirectory, sources }: ImageRequest): string {
  const settings = [
    ...(sharedCacheDirectory === null ? [`KILN_CACHE_DIR=${shellQuote(cacheDirectory)}`] : []),
    ...(sources === 'auto' ? [] : [`KILN_IMAGE_SOURCES=${sources}`]),
  ];
  return ['sudo env "PATH=$PATH"', ...settings, 'sh scripts/run.sh scripts/make-image.ts'].join(' ');
}

/** Named contexts replace the Dockerfile's stages of the same names. */
function binsContext(bins: string): string[] {
  return [`--local=bins=${dirname(bins)}`, '--opt=context:bins=local:bins'];
}

function baseContext({ layout, digest }: { layout: string; digest: string }): string[] {
  return [`--oci-layout=base=${layout}`, `--opt=context:base=oci-layout://base@${digest}`];
}

async function buildImage(
  options: {
    request: ImageRequest;
    pins: Pins;
    contexts: readonly string[];
    buildctl: string;
    address: string;
  },
  directory: string,
): Promise<void> {
  const { request, pins, contexts, buildctl, address } = options;
  const args = [
    `--addr=${address}`,
    'build',
    '--frontend=dockerfile.v0',
    '--progress=plain',
    '--opt=target=vm',
    `--local=context=${request.imagesDirectory}`,
    `--local=dockerfile=${request.imagesDirectory}`,
    ...contexts,
    ...Object.entries(pins).map(([name, value]) => `--opt=build-arg:${name}=${value}`),
    `--output=type=local,dest=${directory}`,
  ];
  await runStep(buildctl, args, { ...request, name: 'image' });
}
