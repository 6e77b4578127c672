import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { proxyUrl } from '../buildkit/way-out.ts';

/** A file that kiln puts into the template's guest. */
export type GuestFile = { readonly path: string; readonly mode: number; readonly content: Buffer };

export const buildScript = '/usr/local/lib/kiln/build';
export const reseedScript = '/usr/local/lib/kiln/reseed';
export const prepareScript = '/usr/local/lib/kiln/prepare';

/**
 * Everything that makes the archived VM one of kiln's: the programs kiln runs in it, and buildkitd's way out.
 * The image itself knows nothing of them, so that changing one does not change the archive.
 * @param registryConfig Lines of buildkitd.toml that name the mirrors.
 */
export async function readGuestFiles(registryConfig: string): Promise<GuestFile[]> {
  return [
    ...(await Promise.all(programs.map(readProgram))),
    {
      path: '/etc/buildkit/buildkitd.toml',
      mode: 0o644,
      content: Buffer.from(buildkitdConfig(registryConfig)),
    },
    {
      path: '/etc/systemd/system/buildkit.service.d/kiln.conf',
      mode: 0o644,
      content: Buffer.from(buildkitUnit()),
    },
  ];
}

export function fingerprintOf(files: readonly GuestFile[]): string {
  const hash = createHash('sha256');
  for (const { path, mode, content } of files)
    hash.update(`${path} ${mode} ${content.length}\n`).update(content);
  return hash.digest('hex');
}

const programs = [
  { path: buildScript, name: 'build.sh' },
  { path: '/usr/local/lib/kiln/send', name: 'send.pl' },
  { path: reseedScript, name: 'reseed.pl' },
  { path: prepareScript, name: 'prepare.sh' },
];

async function readProgram({ path, name }: (typeof programs)[number]): Promise<GuestFile> {
  return { path, mode: 0o755, content: await readFile(new URL(`./programs/${name}`, import.meta.url)) };
}

/** `native` copies whole trees per step: a daemon that cannot use overlayfs must not start. */
function buildkitdConfig(registryConfig: string): string {
  return `[worker.oci]\n  snapshotter = "overlayfs"\n\n[worker.containerd]\n  enabled = false\n\n${registryConfig}`;
}

/** Without the two limits buildkitd clips a step's log at 2 MiB and 200 KiB/s. */
function buildkitUnit(): string {
  const variables = {
    HTTP_PROXY: proxyUrl,
    HTTPS_PROXY: proxyUrl,
    http_proxy: proxyUrl,
    https_proxy: proxyUrl,
    BUILDKIT_STEP_LOG_MAX_SIZE: '-1',
    BUILDKIT_STEP_LOG_MAX_SPEED: '-1',
  };
  const lines = Object.entries(variables).map(([name, value]) => `Environment=${name}=${value}`);
  return `[Service]\n${lines.join('\n')}\n`;
}
