import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import ssh2 from 'ssh2';
import { withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { ChannelBudget, connectToGuest } from './distrust.ts';
import { type StartedCommand, startCommand } from './exec.ts';

export type SshTarget = {
  readonly port: number;
  /** `ssh-ed25519 AAAA…`: the only host key that is spoken to. */
  readonly hostKey: string;
  readonly privateKey: string;
};

/** One connection to one guest: its only door. Disposing closes it and every channel on it. */
export type SshConnection = AsyncDisposable & {
  /** Starts a command given by us, never holding a user's value; its standard input comes later. */
  start(command: string, signal: AbortSignal): Promise<StartedCommand>;
  /** Makes `port` on the guest's loopback a way out: each connection there arrives here as a channel. */
  forwardIn(port: number, accept: (channel: Duplex) => void, signal: AbortSignal): Promise<void>;
  /** Resolves, never rejects, with the reason once the connection is gone. */
  readonly closed: Promise<string>;
};

const deadlineMs = 10_000;
const keepaliveIntervalMs = 5000;
/** More than the egress proxy serves at once; each counts until the guest has agreed to its end. */
const maxForwarded = 256;

/** @throws KilnError INFRA when the guest does not answer, shows another host key, or refuses our key. */
export async function connectSsh(target: SshTarget, signal: AbortSignal): Promise<SshConnection> {
  signal.throwIfAborted();
  const client = new ssh2.Client();
  const socket = connectToGuest(target.port);
  const budget = new ChannelBudget(socket);
  const closed = closeReason(client);
  const reason = (): Error =>
    new KilnError('INFRA', `The guest's ssh did not answer within ${deadlineMs} ms.`);
  try {
    await withDeadline({ ms: deadlineMs, signal, reason }, () =>
      handshake(client, { ...target, socket }, closed),
    );
    // Small writes of several channels would wait for each other's acknowledgements.
    client.setNoDelay(true);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return {
    closed,
    start: (command, linked) => startCommand({ client, budget }, command, linked),
    forwardIn: (port, accept, linked) => forwardIn({ client, budget }, { port, accept }, linked),
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
      reject(new KilnError('INFRA', `The guest's ssh: ${error.message}`, { cause: error })),
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
  { port, accept }: { port: number; accept: (channel: Duplex) => void },
  signal: AbortSignal,
): Promise<void> {
  let open = 0;
  client.on('tcp connection', (_details, acceptChannel, reject) => {
    if (open >= maxForwarded) {
      reject();
      return;
    }
    open += 1;
    const channel = budget.boundForwarded(acceptChannel());
    channel.once('close', () => {
      open -= 1;
    });
    // Nothing that is forwarded has one; what a guest sends there anyway is dropped.
    channel.stderr.resume();
    accept(channel);
  });
  const reason = (): Error =>
    new KilnError('INFRA', `The guest did not open its way out within ${deadlineMs} ms.`);
  await withDeadline(
    { ms: deadlineMs, signal, reason },
    () =>
      new Promise<void>((resolve, reject) => {
        client.forwardIn('127.0.0.1', port, (error) => (error ? reject(error) : resolve()));
      }),
  );
}
