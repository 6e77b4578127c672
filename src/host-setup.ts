import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Entry } from './catalog/catalog.ts';
import { listEntries } from './catalog/list-entries.ts';
import type { Config } from './config/config.ts';
import { parseKeptEntries } from './fleet/kept-entries.ts';
import { ensureHostTools, vmTools } from './host/host-tools.ts';
import { type DqdImage, ensureDqdImage } from './images/dqd-image.ts';
import { ensureVmImage } from './images/ensure-vm-image.ts';
import { openHostBuilder } from './images/host-builder.ts';
import { firstImageOf, type HostImageRequest } from './images/image-request.ts';
import { ensureNetworkPrograms } from './images/network.ts';
import { ensureRegistryProgram } from './images/publish/registry-program.ts';
import type { VmImage } from './model/vm-image.ts';
import type { Kept } from './scheduler/scheduler.ts';

/** What VMs are made from. */
export type HostSetup = {
  readonly catalog: readonly Entry[];
  /** What is kept ready, by entry, the first that of builds that ask for none. */
  readonly kept: ReadonlyMap<string, Kept>;
  /** Their first images, in the same order. */
  readonly made: readonly [VmImage, ...VmImage[]];
  /** Folder of the relay and the CNI plugins. */
  readonly networkPrograms: string;
  /** What it takes to make further images. */
  readonly request: HostImageRequest;
};

export type HostOptions = {
  /** Where programs are looked for, as in $PATH. */
  readonly path: string;
  /** Lines for people. */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

type Owner = {
  /** Where it is remembered what VM images looked like when they were last read; null for who does not hold the data folder's lock. */
  readonly sealsDirectory: string | null;
  /** Of who rebuilds images. */
  readonly installation?: string;
};

/**
 * Everything that kiln may need root for: Debian packages, the VM images of KILN_ENTRIES and the guest's programs. Whoever is not
 * root is told the one command.
 * @throws KilnError REQUIREMENT_MISSING, CONFIG_INVALID
 */
export async function prepareHost(config: Config, options: HostOptions & Owner): Promise<HostSetup> {
  const request = await imageRequest(config, options);
  const { catalog } = request;
  const standard = { warm: config.KILN_POOL_SIZE, frozen: config.KILN_POOL_FROZEN };
  const kept = parseKeptEntries(config.KILN_ENTRIES, catalog, standard);
  // Before the tools: the one command that this prints to who is not root installs them, too.
  const made = await ensureImages([...kept.keys()], request);
  const networkPrograms = await prepareNetworkPrograms(config, options);
  if (config.KILN_DRIVER === 'qemu') await ensureHostTools(vmTools, request);
  return { catalog, kept, made, networkPrograms, request };
}

/** One after the other: each takes all processors. */
async function ensureImages(
  [first, ...others]: readonly string[],
  request: HostSetup['request'],
): Promise<[VmImage, ...VmImage[]]> {
  if (first === undefined) throw new Error('There is an entry by default.');
  const made: [VmImage, ...VmImage[]] = [await ensureVmImage(firstImageOf(first, request))];
  for (const entry of others) made.push(await ensureVmImage(firstImageOf(entry, request)));
  return made;
}

/** Of `prepareHost`, the folder of the relay and the CNI plugins alone. */
export async function prepareNetworkPrograms(config: Config, options: HostOptions): Promise<string> {
  const relay = fileURLToPath(new URL('./guest/relay', import.meta.url));
  const request = await imageRequest(config, { ...options, sealsDirectory: null });
  return join(await ensureNetworkPrograms(request, relay), 'out');
}

/** The program that speaks to container registries, made where it is not there. @returns its path */
export async function prepareRegistryProgram(config: Config, options: HostOptions): Promise<string> {
  return ensureRegistryProgram(await imageRequest(config, { ...options, sealsDirectory: null }));
}

/** The dqd image of one of this host's VM images: made where it is not there, which takes minutes. */
export async function prepareDqdImage(
  config: Config,
  options: HostOptions,
  image: VmImage,
): Promise<DqdImage> {
  const request = await imageRequest(config, { ...options, sealsDirectory: null });
  return ensureDqdImage(firstImageOf(image.entry, request), image);
}

async function imageRequest(config: Config, options: HostOptions & Owner): Promise<HostSetup['request']> {
  const { asRoot, cacheDirectory, sharedCacheDirectory } = config;
  const { path, progress, signal, sealsDirectory, installation = null } = options;
  const imagesDirectory = fileURLToPath(new URL('../images', import.meta.url));
  return {
    ...{ path, progress, signal, sealsDirectory, installation },
    ...{ asRoot, cacheDirectory, sharedCacheDirectory },
    logDirectory: join(cacheDirectory, 'logs'),
    openBuilder: openHostBuilder,
    imagesDirectory,
    catalog: await listEntries(imagesDirectory, config.KILN_ENTRIES_DIR ?? null),
    sources: config.KILN_IMAGE_SOURCES,
    buildkitHost: config.BUILDKIT_HOST,
  };
}
