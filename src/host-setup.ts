import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from './config/config.ts';
import { ensureHostTools, vmTools } from './host/host-tools.ts';
import { ensureVmImage } from './images/ensure-vm-image.ts';
import type { ImageRequest } from './images/image-request.ts';
import { ensureNetworkPrograms } from './images/network.ts';
import type { VmImage } from './model/vm-image.ts';

/** The archive entry this version of kiln serves. */
const entry = 'buildkit-v0.20.2';

/** What VMs are made from. */
export type HostSetup = {
  readonly image: VmImage;
  /** Folder of the relay and the CNI plugins. */
  readonly networkPrograms: string;
};

type HostOptions = {
  /** Where programs are looked for, as in $PATH. */
  readonly path: string;
  /** Lines for people. */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

/**
 * Everything that kiln may need root for: Debian packages, the VM image and the guest's programs. Whoever is not root is told
 * the one command.
 * @throws KilnError REQUIREMENT_MISSING
 */
export async function prepareHost(config: Config, options: HostOptions): Promise<HostSetup> {
  const request = imageRequest(config, options);
  // Before the tools: the one command that this prints to who is not root installs them, too.
  const image = await ensureVmImage(request);
  const networkPrograms = await prepareNetworkPrograms(config, options);
  await ensureHostTools(vmTools, request);
  return { image, networkPrograms };
}

/** Of `prepareHost`, the folder of the relay and the CNI plugins alone. */
export async function prepareNetworkPrograms(config: Config, options: HostOptions): Promise<string> {
  const relay = fileURLToPath(new URL('./guest/relay', import.meta.url));
  return join(await ensureNetworkPrograms(imageRequest(config, options), relay), 'out');
}

function imageRequest(config: Config, options: HostOptions): ImageRequest {
  const { asRoot, cacheDirectory, sharedCacheDirectory } = config;
  return {
    ...options,
    ...{ asRoot, cacheDirectory, sharedCacheDirectory, entry },
    logDirectory: join(cacheDirectory, 'logs'),
    imagesDirectory: fileURLToPath(new URL('../images', import.meta.url)),
    sources: config.KILN_IMAGE_SOURCES,
    buildkitHost: config.BUILDKIT_HOST,
  };
}
