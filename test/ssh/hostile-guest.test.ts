import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2 from 'ssh2';
import { connectSsh, type SshConnection } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';

const signal = AbortSignal.timeout(60_000);
const wayOut = '/run/kiln/way-out.sock';

/** What ssh2 itself sends with: a guest whose root took over its sshd can send anything. */
type Protocol = {
  disconnect(reason: number): void;
  channelEOF(recipient: number): void;
  channelData(recipient: number, data: Buffer): void;
  channelExtData(recipient: number, data: Buffer, type: number): void;
};
type RawChannel = ssh2.ServerChannel & { outgoing: { id: number } };

/** A real ssh connection; the guest's side of it is in our hands. */
async function connectGuest(): Promise<
  AsyncDisposable & { ssh: SshConnection; guest: ssh2.Connection; protocol: Protocol; forwarded: Duplex[] }
> {
  const { privateKey, publicKey } = generateKeyPair();
  const server = new ssh2.Server({ hostKeys: [privateKey], ident: 'OpenSSH_9.2' });
  const { promise: connected, resolve } = Promise.withResolvers<ssh2.Connection>();
  server.on('connection', (connection) => {
    connection.on('error', () => undefined);
    connection.on('authentication', (context) => context.accept());
    connection.on('request', (accept) => accept?.());
    connection.once('ready', () => resolve(connection));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = async () => connect(port, '127.0.0.1');
  const ssh = await connectSsh({ open, hostKey: `ssh-ed25519 ${publicKey}`, privateKey }, signal);
  const forwarded: Duplex[] = [];
  await ssh.forwardIn(wayOut, (channel) => forwarded.push(channel), signal);
  const guest = await connected;
  const { _protocol: protocol } = guest as unknown as { _protocol: Protocol };
  return {
    ...{ ssh, guest, protocol, forwarded },
    async [Symbol.asyncDispose]() {
      await ssh[Symbol.asyncDispose]();
      server.close();
      await once(server, 'close');
    },
  };
}

function openForwarded(guest: ssh2.Connection): Promise<RawChannel> {
  return new Promise((resolve, reject) => {
    guest.openssh_forwardOutStreamLocal(wayOut, (error, channel) =>
      error ? reject(error) : resolve(channel as RawChannel),
    );
  });
}

test('a guest that says goodbye and keeps the connection open is gone at once', async () => {
  await using connection = await connectGuest();
  connection.protocol.disconnect(11);
  assert.equal(typeof (await connection.ssh.closed), 'string');
});

test('a guest that sends beyond its window is cut off', async () => {
  await using connection = await connectGuest();
  const channel = await openForwarded(connection.guest);
  // No divisor of the window: ssh2 looks only whether it is exactly used up.
  for (let sent = 0; sent < 500; sent += 1)
    connection.protocol.channelData(channel.outgoing.id, Buffer.alloc(30_000));
  assert.match(await connection.ssh.closed, /more than it may/);
});

test('a guest that sends after the end of its error output is cut off, and nothing else happens', async () => {
  await using connection = await connectGuest();
  const channel = await openForwarded(connection.guest);
  connection.protocol.channelEOF(channel.outgoing.id);
  for (let sent = 0; sent < 3; sent += 1)
    connection.protocol.channelExtData(channel.outgoing.id, Buffer.from('late'), 1);
  assert.match(await connection.ssh.closed, /push\(\) after EOF/);
});

test('thousands of connections are open at once; beyond a number they wait until others are closed', async () => {
  await using connection = await connectGuest();
  const opening = Array.from({ length: 4200 }, () => openForwarded(connection.guest));
  const opened = await Promise.all(opening.slice(0, 4096));
  assert.equal(connection.forwarded.length, 4096);
  for (const channel of connection.forwarded.slice(0, 104)) channel.destroy();
  for (const channel of opened.slice(0, 104)) channel.resume();
  await Promise.all(opening.slice(4096));
  assert.equal(connection.forwarded.length, 4200);
});

/** Bytes of all channels that are held for them. */
function unreadOf(channels: readonly Duplex[]): number {
  return channels.reduce((sum, { readableLength }) => sum + readableLength, 0);
}

test('what a guest sends on many connections that nobody reads is bounded in all, and arrives whole once it is read', async () => {
  await using connection = await connectGuest();
  const opened = await Promise.all(Array.from({ length: 500 }, () => openForwarded(connection.guest)));
  const bytes = 300 * 1024;
  for (const channel of opened) channel.end(Buffer.alloc(bytes));
  for (let seen = -1; seen !== unreadOf(connection.forwarded); await sleep(300))
    seen = unreadOf(connection.forwarded);
  const bound = 64 * 256 * 1024 + 436 * 16 * 1024;
  assert.ok(unreadOf(connection.forwarded) <= bound, `${unreadOf(connection.forwarded)} bytes are held`);
  const received = await Promise.all(
    connection.forwarded.map(async (channel) => (await buffer(channel)).length),
  );
  assert.deepEqual(new Set(received), new Set([bytes]));
});

test('what waits for a guest that takes nothing is bounded in all, and arrives whole once it does', async () => {
  await using connection = await connectGuest();
  const opened = await Promise.all(Array.from({ length: 40 }, () => openForwarded(connection.guest)));
  const { _sock: socket } = connection.guest as unknown as { _sock: Socket };
  socket.pause();
  const bytes = 1024 * 1024;
  const written = connection.forwarded.map((channel) => {
    for (let sent = 0; sent < bytes; sent += 64 * 1024) channel.write(Buffer.alloc(64 * 1024));
    return new Promise<void>((resolve) => channel.end(resolve));
  });
  let ended = 0;
  for (const channel of written) void channel.then(() => (ended += 1));
  await sleep(500);
  assert.ok(ended < opened.length, 'not all of it was taken by the connection');
  socket.resume();
  const received = await Promise.all(opened.map(async (channel) => (await buffer(channel)).length));
  assert.deepEqual(new Set(received), new Set([bytes]));
});
