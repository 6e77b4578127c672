import { join } from 'node:path';
import { findEntry, listEntries } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import { ensureHostTools, imageTools } from '../host/host-tools.ts';
import { runStep } from '../host/run-step.ts';
import { shellQuote } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { DebianStage } from './base.ts';
import { ensureBinaries } from './binaries.ts';
import { startBuilder, useBuilder } from './builder.ts';
import { givenFolder } from './given-image.ts';
import type { ImageRequest } from './image-request.ts';

/** One target of images/Dockerfile. */
export type Target = {
  readonly target: 'vm' | 'dqd';
  /** Named contexts, in buildctl's words. */
  readonly contexts: readonly string[];
  readonly args: Readonly<Record<string, string>>;
  /** buildctl's --output. */
  readonly output: string;
};

export type PreparedBuilder = AsyncDisposable & {
  readonly builder: { readonly buildctl: string; readonly address: string };
  build(target: Target): Promise<void>;
};

/**
 * A buildkitd on this host that builds targets of images/Dockerfile.
 * @throws KilnError REQUIREMENT_MISSING where kiln is not root and was told of none.
 */
export async function prepareBuilder(
  request: ImageRequest,
  target: Target['target'],
): Promise<PreparedBuilder> {
  if (!request.asRoot && request.buildkitHost === undefined) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `The VM image is made as root, once: ${commandAsRoot(request, target)}\nOr set BUILDKIT_HOST to a buildkitd that you may use${target === 'vm' ? `, or copy what the target vm of images/Dockerfile made elsewhere to ${givenFolder(request)}` : ''}.`,
    );
  }
  await ensureHostTools(imageTools, request);
  const tools = join(await ensureBinaries(request, await builderPins(request)), 'out');
  const daemon =
    request.buildkitHost === undefined
      ? await startBuilder(tools, request)
      : useBuilder(request.buildkitHost);
  const builder = { buildctl: join(tools, 'buildctl'), address: daemon.address };
  return {
    builder,
    build: (target) => buildTarget(target, builder, request),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
}

/** One BuildKit makes the images of all entries: old ones cannot, `buildctl build --oci-layout` and named contexts are younger. */
const builderEntry = 'buildkit-v0.20.2';

async function builderPins({ imagesDirectory }: ImageRequest): Promise<Pins> {
  return findEntry(await listEntries(imagesDirectory), builderEntry).pins;
}

/** Not by npm, which in versions 7 and 8 runs a folder's scripts as its owner. What the image depends on passes through sudo. */
function commandAsRoot(
  { sharedCacheDirectory, cacheDirectory, sources }: ImageRequest,
  target: Target['target'],
): string {
  const settings = [
    ...(sharedCacheDirectory === null ? [`KILN_CACHE_DIR=${shellQuote(cacheDirectory)}`] : []),
    ...(sources === 'auto' ? [] : [`KILN_IMAGE_SOURCES=${sources}`]),
    ...(target === 'dqd' ? ['KILN_DRIVER=docker'] : []),
  ];
  return ['sudo env "PATH=$PATH"', ...settings, 'sh scripts/run.sh scripts/make-image.ts'].join(' ');
}

/** Named contexts replace the Dockerfile's stages of the same names. */
export function folderContext(stage: string, folder: string): string[] {
  return [`--local=${stage}=${folder}`, `--opt=context:${stage}=local:${stage}`];
}

export function layoutContext(stage: string, { layout, digest }: DebianStage): string[] {
  return [`--oci-layout=${stage}=${layout}`, `--opt=context:${stage}=oci-layout://${stage}@${digest}`];
}

async function buildTarget(
  { target, contexts, args, output }: Target,
  { buildctl, address }: PreparedBuilder['builder'],
  request: ImageRequest,
): Promise<void> {
  const words = [
    `--addr=${address}`,
    'build',
    '--frontend=dockerfile.v0',
    '--progress=plain',
    `--opt=target=${target}`,
    `--local=context=${request.imagesDirectory}`,
    `--local=dockerfile=${request.imagesDirectory}`,
    ...contexts,
    ...Object.entries(args).map(([name, value]) => `--opt=build-arg:${name}=${value}`),
    `--output=${output}`,
  ];
  await runStep(buildctl, words, { ...request, name: target === 'vm' ? 'image' : target });
}
