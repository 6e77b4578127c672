import { once } from 'node:events';
import { connect } from 'node:net';
import ssh2 from 'ssh2';
import type { WarmVm } from '../../src/guest/warm-vm.ts';

/** Where programs of the guest find it, on their loopback. */
export const proxyPort = 3128;

/**
 * The way out that VMs had before the relay, without its policy: a port of the guest that is forwarded over ssh, and a proxy behind
 * it that takes CONNECT. It leads to this machine's loopback, whatever host is asked for, and lasts as long as the VM.
 */
export async function openOldWay({ ssh }: WarmVm, privateKey: string): Promise<void> {
  const client = new ssh2.Client();
  // The VM ends first.
  client.on('error', () => undefined);
  client.on('tcp connection', (_details, accept) => void serveConnect(accept()));
  const ready = once(client, 'ready');
  client.connect({
    ...{ sock: await ssh.open(AbortSignal.timeout(10_000)), username: 'root', privateKey },
    hostVerifier: (key: Buffer) => `ssh-ed25519 ${key.toString('base64')}` === ssh.hostKey,
    algorithms: { cipher: ['aes128-gcm@openssh.com'] },
  });
  await ready;
  client.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    client.forwardIn('127.0.0.1', proxyPort, (error) => (error ? reject(error) : resolve()));
  });
}

async function serveConnect(channel: ssh2.ServerChannel | ssh2.ClientChannel): Promise<void> {
  channel.on('error', () => undefined);
  const [head] = (await once(channel, 'data')) as [Buffer];
  const [, port] = /^CONNECT \S+:(\d+) /.exec(head.toString('latin1')) ?? [];
  const socket = connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true });
  socket.on('error', () => channel.destroy());
  await once(socket, 'connect');
  channel.write('HTTP/1.1 200 Connection established\r\n\r\n');
  channel.pipe(socket).pipe(channel);
}
