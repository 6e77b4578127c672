import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findEntry } from '../catalog/catalog.ts';
import type { Pins } from '../catalog/pins.ts';
import { ensureHostTools, imageTools } from '../host/host-tools.ts';
import { runStep } from '../host/run-step.ts';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';
import { printable, shellQuote } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { ImageTarget } from '../model/operation.ts';
import { ensureBinaries } from './binaries.ts';
import { startBuilder, useBuilder } from './builder.ts';
import { givenFolder } from './given-image.ts';
import type { ImageBuilder, LookedUp, NamedContext, TargetBuild } from './image-builder.ts';
import { firstImageOf, type ImageRequest } from './image-request.ts';
import { found, resolvedDigest } from './looked-up.ts';
import { entryOf } from './making.ts';

type Daemon = { readonly buildctl: string; readonly address: string };

/** How long a registry may take to answer before it counts as not there. */
const registryDeadlineMs = 20_000;

/**
 * A buildkitd on this host: what makes the first image of an installation, when there is no VM yet.
 * @throws KilnError REQUIREMENT_MISSING where kiln is not root and was told of none.
 */
export async function openHostBuilder(request: ImageRequest, target: ImageTarget): Promise<ImageBuilder> {
  if (!request.asRoot && request.buildkitHost === undefined) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `The VM image is made as root, once: ${commandAsRoot(request, target)}\nOr set BUILDKIT_HOST to a buildkitd that you may use${target === 'dqd' ? '' : `, or copy what the target vm of images/Dockerfile made elsewhere to ${givenFolder(request)}`}.`,
    );
  }
  await ensureHostTools(imageTools, request);
  const { pins, name } = builderEntry(request);
  const tools = join(await ensureBinaries(firstImageOf(name, request), pins), 'out');
  const builder =
    request.buildkitHost === undefined
      ? await startBuilder(tools, request)
      : useBuilder(request.buildkitHost);
  const daemon = { buildctl: join(tools, 'buildctl'), address: builder.address };
  return {
    lookUp: (image) => lookUp(image, daemon, request.signal),
    build: (build) => buildTarget(build, daemon, request),
    [Symbol.asyncDispose]: () => builder[Symbol.asyncDispose](),
  };
}

/** One BuildKit makes the images of all entries: old ones cannot, `buildctl build --oci-layout` and named contexts are younger. It is that of KILN_ENTRIES, where nothing else is set. */
const builderName = 'buildkit-v0.20.2';

function builderEntry({ catalog }: ImageRequest): { name: string; pins: Pins } {
  return findEntry(catalog, builderName);
}

/** Not by npm, which in versions 7 and 8 runs a folder's scripts as its owner. What the image depends on passes through sudo. */
function commandAsRoot(request: ImageRequest, target: ImageTarget): string {
  const { sharedCacheDirectory, cacheDirectory, sources } = request;
  const { name, derivation } = entryOf(request);
  const settings = [
    ...(name === builderName ? [] : [`KILN_ENTRIES=${name}`]),
    ...(derivation ? [`KILN_ENTRIES_DIR=${shellQuote(dirname(derivation.directory))}`] : []),
    ...(sharedCacheDirectory === null ? [`KILN_CACHE_DIR=${shellQuote(cacheDirectory)}`] : []),
    ...(sources === 'auto' ? [] : [`KILN_IMAGE_SOURCES=${sources}`]),
    ...(target === 'dqd' ? ['KILN_DRIVER=docker'] : []),
  ];
  return ['sudo env "PATH=$PATH"', ...settings, 'sh scripts/run.sh scripts/make-image.ts'].join(' ');
}

async function buildTarget(
  { target, own, contexts, args, output }: TargetBuild,
  { buildctl, address }: Daemon,
  request: ImageRequest,
): Promise<void> {
  const folder = own ?? request.imagesDirectory;
  const words = [
    `--addr=${address}`,
    'build',
    '--frontend=dockerfile.v0',
    '--progress=plain',
    ...(own === null ? [`--opt=target=${target}`] : []),
    `--local=context=${folder}`,
    `--local=dockerfile=${folder}`,
    // An operator's own buildkitd may remember what was fetched for an earlier image.
    ...(request.noCache ? ['--no-cache'] : []),
    ...contexts.flatMap(contextWords),
    ...Object.entries(args).map(([name, value]) => `--opt=build-arg:${name}=${value}`),
    `--output=${outputWord(output)}`,
  ];
  if (output.kind === 'layout') await mkdir(output.directory, { recursive: true });
  await runStep(buildctl, words, { ...request, name: target });
}

/** Named contexts replace the Dockerfile's stages of the same names. */
function contextWords(context: NamedContext): string[] {
  const { stage } = context;
  if (context.kind === 'remote') return [`--opt=context:${stage}=docker-image://${context.reference}`];
  const { path } = context;
  return context.kind === 'folder'
    ? [`--local=${stage}=${path}`, `--opt=context:${stage}=local:${stage}`]
    : [`--oci-layout=${stage}=${path}`, `--opt=context:${stage}=oci-layout://${stage}@${context.digest}`];
}

function outputWord(output: TargetBuild['output']): string {
  if (output.kind === 'files') return `type=local,dest=${output.directory}`;
  if (output.kind === 'layout')
    return `type=oci,tar=false,rewrite-timestamp=true,compression=${output.compression},dest=${output.directory}`;
  return `type=docker,name=${output.reference},dest=${output.tar}`;
}

async function lookUp(image: string, { buildctl, address }: Daemon, signal: AbortSignal): Promise<LookedUp> {
  const probe = await mkdtemp(join(tmpdir(), 'kiln-probe-'));
  try {
    await writeFile(join(probe, 'Dockerfile'), `FROM ${image}\n`);
    const trace = join(probe, 'trace');
    const folders = [`--local=context=${probe}`, `--local=dockerfile=${probe}`];
    // Without an output nothing is pulled but the image's description.
    await runTool(
      buildctl,
      ['--addr', address, 'build', '--frontend=dockerfile.v0', `--trace=${trace}`, ...folders],
      AbortSignal.any([signal, AbortSignal.timeout(registryDeadlineMs)]),
    );
    const lines = (await readFile(trace, 'utf8')).split('\n').filter((line) => line !== '');
    return found(lines.map((line) => resolvedDigest(JSON.parse(line))).find((one) => one !== null) ?? null);
  } catch (error) {
    signal.throwIfAborted();
    return { why: printable(error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : '') };
  } finally {
    await removeQuietly(probe);
  }
}
