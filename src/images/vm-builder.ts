import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildRecord } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { type BuildSpec, type BuildSpecInput, parseSpec } from '../model/spec.ts';
import { checkDisk } from './disk-header.ts';
import { folderTar } from './folder-tar.ts';
import type { ImageBuilder, LookedUp, TargetBuild } from './image-builder.ts';
import type { ImageRequest } from './image-request.ts';
import { found, resolvedDigest } from './looked-up.ts';
import { takeFiles, takeLayout } from './take-artifact.ts';

type Client = {
  readonly builds: Pick<Builds, 'stageContexts' | 'start' | 'attend' | 'watch' | 'get' | 'artifact'>;
  /** Whose builds these are. */
  readonly caller: Caller;
  /** Most that a build may ask for. */
  readonly maxSeconds: number;
};

/** Of all of an image under emulation, a base of half a gigabyte among it. */
const buildSeconds = 4 * 3600;
/** How long a registry may take to answer before it counts as not there. */
const lookUpSeconds = 60;
const heartbeatMs = 15_000;

const outputs = { layout: 'oci', files: 'local', docker: 'docker' } as const;

/** Builds images as any other client of this service builds: each target is a build with a VM of its own, whose log is part of the operation's. */
export function createVmBuilder(client: Client, request: ImageRequest): ImageBuilder {
  return {
    lookUp: (image) => lookUp(image, client, request),
    build: (build) => buildTarget(build, client, request),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function buildTarget(
  { target, own, contexts, args, output }: TargetBuild,
  client: Client,
  request: ImageRequest,
): Promise<void> {
  const { builds, caller, maxSeconds } = client;
  const { imagesDirectory, progress, signal } = request;
  const staging = await builds.stageContexts(caller, signal);
  const add = async (stage: string | null, folder: string): Promise<void> =>
    staging.add(stage, { bytes: folderTar(folder, signal), declared: 'tar' });
  try {
    await add(null, own ?? imagesDirectory);
    for (const context of contexts) if (context.kind !== 'remote') await add(context.stage, context.path);
  } catch (error) {
    await staging[Symbol.asyncDispose]();
    throw error;
  }
  const seconds = Math.min(buildSeconds, maxSeconds);
  const spec = specOf({
    ...(own === null ? { target } : {}),
    outputs: [{ type: outputs[output.kind] }],
    // A disk is written without a word.
    ...{ timeoutSeconds: seconds, noOutputTimeoutSeconds: seconds },
    buildArgs: { ...args },
    buildContexts: Object.fromEntries(contexts.flatMap(remoteContext)),
    tags: output.kind === 'docker' ? [output.reference] : [],
  });
  const record = await builds.start(caller, { spec, context: staging, dockerfile: null });
  progress(`${target}  build ${record.id} in a VM of ${record.entry.name}`);
  const ended = await follow(record.id, { ...client, target }, request);
  if (ended.state !== 'succeeded')
    throw new KilnError('INFRA', `Build ${record.id} of ${target} ${ended.state}: ${ended.verdict?.message}`);
  const { path } = await builds.artifact(caller, record.id);
  if (output.kind === 'layout') await takeLayout(path, output.directory, signal);
  else if (output.kind === 'docker') await copyFile(path, output.tar);
  else {
    await takeFiles(path, output, signal);
    const disks = output.names.filter((name) => name.endsWith('.qcow2'));
    for (const disk of disks) await checkDisk(join(output.directory, disk));
  }
}

function remoteContext(context: TargetBuild['contexts'][number]): [stage: string, source: string][] {
  return context.kind === 'remote' ? [[context.stage, `docker-image://${context.reference}`]] : [];
}

/** Its log goes where that of the step goes. Leaving it cancels it. */
type Followed = { readonly target: string; readonly onStatus?: (status: unknown) => void };

async function follow(
  id: string,
  { builds, caller, target, onStatus }: Omit<Client, 'maxSeconds'> & Followed,
  { progress, output, signal }: ImageRequest,
): Promise<BuildRecord> {
  await using _attended = builds.attend(caller, id);
  const started = performance.now();
  const heartbeat = setInterval(
    () => progress(`${target}  … ${((performance.now() - started) / 1000).toFixed(0)} s`),
    heartbeatMs,
  );
  try {
    const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
    for await (const item of await builds.watch(caller, id, range))
      if (item.kind === 'log') await output?.(item.data);
      else if (item.event.type === 'status') onStatus?.(item.event.status);
    return await builds.get(caller, id);
  } finally {
    clearInterval(heartbeat);
  }
}

/** Without an output nothing is pulled but the image's description. */
async function lookUp(image: string, client: Client, request: ImageRequest): Promise<LookedUp> {
  const spec = specOf({ timeoutSeconds: Math.min(lookUpSeconds, client.maxSeconds) });
  const dockerfile = Buffer.from(`FROM ${image}\n`);
  const record = await client.builds.start(client.caller, { spec, context: null, dockerfile });
  let digest: string | null = null;
  const onStatus = (status: unknown): void => {
    digest ??= resolvedDigest(status);
  };
  const ended = await follow(record.id, { ...client, target: 'source', onStatus }, request);
  request.signal.throwIfAborted();
  return ended.state === 'succeeded' ? found(digest) : { why: ended.verdict?.message ?? ended.state };
}

/** By BuildKit's own frontend, as no other is needed. */
function specOf(given: BuildSpecInput): BuildSpec {
  return parseSpec({ ...given, builtinFrontend: true });
}
