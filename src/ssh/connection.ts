import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { ChannelBudget, distrust } from './distrust.ts';
import { type StartedCommand, startCommand } from './exec.ts';
import { keepKeyObjects } from './key-objects.ts';

export type SshTarget = {
  /** Begins a connection to where the guest's ssh answers. */
  readonly open: (signal: AbortSignal) => Promise<Socket>;
  /** `ssh-ed25519 AAAA…`: the only host key that is spoken to. */
  readonly hostKey: string;
  readonly privateKey: string;
};

/** One connection to one guest: its only door. Disposing closes it and every channel on it. */
export type SshConnection = AsyncDisposable & {
  /** Starts a command given by us, never holding a user's value; its standard input comes later. */
  start(command: string, signal: AbortSignal): Promise<StartedCommand>;
  /** Makes a unix socket in the guest a way out: each connection there arrives here as a stream. Destroying one is a reset. */
  forwardIn(socketPath: string, accept: (stream: Duplex) => void, signal: AbortSignal): Promise<void>;
  /** Resolves, never rejects, with the reason once the connection is gone. */
  readonly closed: Promise<string>;
};

const deadlineMs = 10_000;
const keepaliveIntervalMs = 5000;

/** @throws KilnError INFRA when the guest does not answer, shows another host key, or refuses our key. */
export async function connectSsh(target: SshTarget, signal: AbortSignal): Promise<SshConnection> {
  signal.throwIfAborted();
  const reason = (): Error =>
    new KilnError('INFRA', `The guest's ssh did not answer within ${deadlineMs} ms.`);
  const socket = distrust(await withDeadline({ ms: deadlineMs, signal, reason }, target.open));
  const client = new ssh2.Client();
  const budget = new ChannelBudget(socket);
  const closed = closeReason(client);
  try {
    await withDeadline({ ms: deadlineMs, signal, reason }, () =>
      handshake(client, { ...target, socket }, closed),
    );
    // Small writes of several channels would wait for each other's acknowledgements.
    client.setNoDelay(true);
    keepKeyObjects(client);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    closed,
    start: (command, linked) => startCommand({ client, budget }, command, linked),
    forwardIn: (socketPath, accept, linked) => forwardIn({ client, budget }, { socketPath, accept }, linked),
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await closed;
    },
  };
}

function handshake(
  client: ssh2.Client,
  target: SshTarget & { socket: Socket },
  closed: Promise<string>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('ready', resolve);
    client.once('error', (error) =>
      reject(new KilnError('INFRA', `The guest's ssh: ${printable(error.message)}`, { cause: error })),
    );
    void closed.then((why) => reject(new KilnError('INFRA', `The guest's ssh was closed: ${why}`)));
    client.connect({
      sock: target.socket,
      username: 'root',
      privateKey: target.privateKey,
      hostVerifier: (key: Buffer) => `ssh-ed25519 ${key.toString('base64')}` === target.hostKey,
      readyTimeout: deadlineMs,
      keepaliveInterval: keepaliveIntervalMs,
      keepaliveCountMax: 3,
      // What both ends have, fastest first; the host key is of the one kind the image makes.
      algorithms: {
        kex: ['curve25519-sha256'],
        serverHostKey: ['ssh-ed25519'],
        cipher: ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com'],
        compress: ['none'],
      },
    });
  });
}

function closeReason(client: ssh2.Client): Promise<string> {
  return new Promise((resolve) => {
    let why = 'closed';
    // Stays for good: an error event without a listener would end the process.
    client.on('error', (error) => {
      why = printable(error.message);
    });
    client.once('close', () => resolve(why));
  });
}

async function forwardIn(
  { client, budget }: { client: ssh2.Client; budget: ChannelBudget },
  { socketPath, accept }: { socketPath: string; accept: (stream: Duplex) => void },
  signal: AbortSignal,
): Promise<void> {
  client.on('unix connection', (_details, acceptChannel, reject) => {
    // The types of ssh2 have this channel as if it could be a server's.
    const take = acceptChannel as () => ssh2.ClientChannel;
    budget.admit(() => accept(budget.boundForwarded(client, take)), reject);
  });
  const reason = (): Error =>
    new KilnError('INFRA', `The guest did not open its way out within ${deadlineMs} ms.`);
  await withDeadline(
    { ms: deadlineMs, signal, reason },
    () =>
      new Promise<void>((resolve, reject) => {
        client.openssh_forwardInStreamLocal(socketPath, (error) => (error ? reject(error) : resolve()));
      }),
  );
}
