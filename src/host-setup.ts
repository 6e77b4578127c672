import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from './config/config.ts';
import { ensureHostTools, vmTools } from './host/host-tools.ts';
import { ensureVmImage } from './images/ensure-vm-image.ts';
import type { VmImage } from './model/vm-image.ts';

/** The archive entry this version of kiln serves. */
const entry = 'buildkit-v0.20.2';

/**
 * Everything that kiln may need root for: Debian packages and the VM image. Whoever is not root is told the one command.
 * @throws KilnError REQUIREMENT_MISSING
 */
export async function prepareHost(
  config: Config,
  options: {
    /** Where programs are looked for, as in $PATH. */
    readonly path: string;
    /** Lines for people. */
    readonly progress: (line: string) => void;
    readonly signal: AbortSignal;
  },
): Promise<VmImage> {
  const { asRoot, cacheDirectory, sharedCacheDirectory } = config;
  const context = { ...options, asRoot, logDirectory: join(cacheDirectory, 'logs') };
  // Before the tools: the one command that this prints to who is not root installs them, too.
  const image = await ensureVmImage({
    ...context,
    entry,
    imagesDirectory: fileURLToPath(new URL('../images', import.meta.url)),
    ...{ cacheDirectory, sharedCacheDirectory },
    sources: config.KILN_IMAGE_SOURCES,
    buildkitHost: config.BUILDKIT_HOST,
  });
  await ensureHostTools(vmTools, context);
  return image;
}
