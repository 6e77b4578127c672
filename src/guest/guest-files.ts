import { createHash } from 'node:crypto';
import type { Capabilities } from '../catalog/capabilities.ts';
import type { StepNetwork } from '../model/build.ts';
import { authorityFiles } from './authorities.ts';
import { type GuestFile, readProgram } from './guest-file.ts';
import { readNetworkFiles } from './network-files.ts';
import { cniConfigPath, cniPluginsDirectory, networksAhead } from './step-network.ts';

export const buildScript = '/usr/local/lib/kiln/build';
export const reseedScript = '/usr/local/lib/kiln/reseed';
export const prepareScript = '/usr/local/lib/kiln/prepare';

/**
 * Everything that makes the archived VM one of kiln's: the programs kiln runs in it, and its way out.
 * The image itself knows nothing of them, so that changing one does not change the archive.
 * @param options.registryConfig Lines of buildkitd.toml that name the mirrors.
 * @param options.networkPrograms Folder of the relay and the CNI plugins.
 * @param options.authorities Certificates in PEM.
 * @param options.capabilities Of the VM's BuildKit.
 */
export async function readGuestFiles({
  registryConfig,
  networkPrograms,
  authorities,
  ...daemon
}: {
  readonly registryConfig: string;
  readonly networkPrograms: string;
  readonly authorities: readonly string[];
  readonly capabilities: Capabilities;
  readonly stepNetwork: StepNetwork;
}): Promise<GuestFile[]> {
  return [
    ...(await Promise.all(programs.map(readProgram))),
    ...(await readNetworkFiles(networkPrograms)),
    ...authorityFiles(authorities),
    {
      path: '/etc/buildkit/buildkitd.toml',
      mode: 0o644,
      content: Buffer.from(buildkitdConfig(registryConfig, daemon)),
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

const networkModes: Readonly<Record<StepNetwork, string>> = { bridge: 'cni', vm: 'host' };

/** `native` copies whole trees per step: a daemon that cannot use overlayfs must not start. */
function buildkitdConfig(registryConfig: string, daemon: Parameters<typeof networksAhead>[0]): string {
  const ahead = networksAhead(daemon);
  return `[worker.oci]
  snapshotter = "overlayfs"
  networkMode = "${networkModes[daemon.stepNetwork]}"
  cniConfigPath = "${cniConfigPath}"
  cniBinaryPath = "${cniPluginsDirectory}"
${ahead > 0 ? `  # Made ahead, in the template.\n  cniPoolSize = ${ahead}\n` : ''}
[worker.containerd]
  enabled = false

${registryConfig}`;
}

/** Without the two limits buildkitd clips a step's log at 2 MiB and 200 KiB/s. */
function buildkitUnit(): string {
  const variables = {
    BUILDKIT_STEP_LOG_MAX_SIZE: '-1',
    BUILDKIT_STEP_LOG_MAX_SPEED: '-1',
  };
  const lines = Object.entries(variables).map(([name, value]) => `Environment=${name}=${value}`);
  return `[Service]\n${lines.join('\n')}\n`;
}
