import { access, constants } from 'node:fs/promises';
import { findProgram } from '../lib/process/find-program.ts';
import { KilnError } from '../model/error.ts';
import { installPackages } from './install-packages.ts';
import type { StepContext } from './run-step.ts';

/** A program, or a file where `/` begins it, and the Debian package that brings it. */
export type HostTool = { readonly find: string; readonly package: string };

export const vmTools: readonly HostTool[] = [
  { find: 'qemu-system-x86_64', package: 'qemu-system-x86' },
  { find: 'qemu-img', package: 'qemu-utils' },
  { find: 'setpriv', package: 'util-linux' },
];

export const goTools: readonly HostTool[] = [
  { find: 'go', package: 'golang-go' },
  { find: '/etc/ssl/certs/ca-certificates.crt', package: 'ca-certificates' },
];

/** What BuildKit and runc are built by. */
export const binaryTools: readonly HostTool[] = [
  ...goTools,
  { find: 'gcc', package: 'gcc' },
  { find: '/usr/include/stdlib.h', package: 'libc6-dev' },
  { find: '/usr/include/seccomp.h', package: 'libseccomp-dev' },
  { find: 'pkg-config', package: 'pkg-config' },
];

/** What a base is made by of Debian packages. */
export const baseTools: readonly HostTool[] = [{ find: 'mmdebstrap', package: 'mmdebstrap' }];

export const imageTools: readonly HostTool[] = [...binaryTools, ...baseTools];

/**
 * Finds the tools, installing their Debian packages where kiln is root.
 * @throws KilnError REQUIREMENT_MISSING with the one command that gets what is missing.
 */
export async function ensureHostTools(
  tools: readonly HostTool[],
  options: StepContext & { asRoot: boolean; path: string },
): Promise<void> {
  const missing = await findMissing(tools, options.path);
  if (missing.length === 0) return;
  const packages = missing.map((tool) => tool.package);
  const aptGet = (await findMissing([{ find: 'apt-get', package: 'apt' }], options.path)).length === 0;
  if (!options.asRoot || !aptGet) {
    const names = missing.map(({ find }) => find).join(', ');
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `Missing on this machine: ${names}. On Debian or Ubuntu: sudo apt-get install -y --no-install-recommends ${packages.join(' ')}`,
    );
  }
  await installPackages(packages, options);
}

async function findMissing(tools: readonly HostTool[], path: string): Promise<HostTool[]> {
  const found = await Promise.all(
    tools.map(async (tool) => ({ tool, there: await isThere(tool.find, path) })),
  );
  return found.filter(({ there }) => !there).map(({ tool }) => tool);
}

async function isThere(find: string, path: string): Promise<boolean> {
  if (!find.startsWith('/')) return (await findProgram(find, path)) !== null;
  return access(find, constants.R_OK).then(
    () => true,
    () => false,
  );
}
