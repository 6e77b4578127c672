import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestFile, readProgram } from './guest-file.ts';
import { cniConfigPath, cniPluginsDirectory, wayOutSocket } from './step-network.ts';

const relay = '/usr/local/lib/kiln/relay';
const networkScript = '/usr/local/lib/kiln/network';

/**
 * The network of a VM: the relay that carries it to kiln, the rules that lead it there, and what gives steps addresses of their own.
 * @param programs Folder of the relay and the CNI plugins.
 */
export async function readNetworkFiles(programs: string): Promise<GuestFile[]> {
  const binary = async (path: string, name: string): Promise<GuestFile> => {
    return { path, mode: 0o755, content: await readFile(join(programs, name)) };
  };
  const plugins = ['bridge', 'loopback', 'host-local'];
  return [
    await readProgram({ path: networkScript, name: 'network.sh' }),
    await binary(relay, 'relay'),
    ...(await Promise.all(plugins.map((name) => binary(join(cniPluginsDirectory, name), name)))),
    text(cniConfigPath, JSON.stringify(bridge, null, 2)),
    text('/etc/systemd/system/kiln-relay.service', relayUnit),
    // Each stream to kiln is an open file of sshd.
    text('/etc/systemd/system/ssh.service.d/kiln.conf', '[Service]\nLimitNOFILE=65536'),
    // A name server that is not there: the rules lead every question to the relay. Not a loopback address, which BuildKit would
    // replace by public ones for its steps.
    text('/etc/resolv.conf', 'nameserver 10.0.2.3'),
  ];
}

function text(path: string, content: string): GuestFile {
  return { path, mode: 0o644, content: Buffer.from(`${content}\n`) };
}

const relayUnit = `[Unit]
Description=The way out of this VM: its network, carried to kiln

[Service]
Type=notify
RuntimeDirectory=kiln
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
ExecStartPre=${networkScript}
ExecStart=${relay} ${wayOutSocket}
LimitNOFILE=65536
Restart=always`;

/** Its name and subnet are those of programs/network.sh. */
const bridge = {
  cniVersion: '0.4.0',
  name: 'kiln',
  type: 'bridge',
  bridge: 'kiln0',
  isDefaultGateway: true,
  ipam: { type: 'host-local', ranges: [[{ subnet: '172.30.0.0/16' }]] },
};
