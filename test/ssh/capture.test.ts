import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { capture } from '../../src/ssh/capture.ts';
import { connectSsh, type SshConnection } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';

const { signal } = new AbortController();

type Guest = AsyncDisposable & {
  readonly ssh: SshConnection;
  /** Resolves when the command was given up: its channel is closed. */
  readonly givenUp: Promise<unknown>;
};

/** A real ssh connection; what the guest makes of its one command is in our hands. */
async function connectGuest(run: (channel: ssh2.ServerChannel) => void): Promise<Guest> {
  const { privateKey, publicKey } = generateKeyPair();
  const { promise: givenUp, resolve } = Promise.withResolvers<void>();
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (guest) => {
    guest.on('error', () => undefined).on('authentication', (context) => context.accept());
    guest.on('session', (accept) =>
      accept().on('exec', (acceptCommand) => {
        const channel = acceptCommand();
        channel
          .on('error', () => undefined)
          .once('close', resolve)
          .resume();
        run(channel);
      }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = async () => connect(port, '127.0.0.1');
  const ssh = await connectSsh({ open, hostKey: `ssh-ed25519 ${publicKey}`, privateKey }, signal);
  return {
    ...{ ssh, givenUp },
    async [Symbol.asyncDispose]() {
      await ssh[Symbol.asyncDispose]();
      server.close();
      await once(server, 'close');
    },
  };
}

test('a command that ends says what it printed', async () => {
  await using guest = await connectGuest((channel) => {
    channel.write('printed');
    channel.exit(0);
    channel.end();
  });
  assert.equal(await capture(guest.ssh, 'print', { deadlineMs: 60_000, signal }), 'printed');
});

for (const [what, run, deadlineMs, message] of [
  ['hangs', () => undefined, 50, /'reseed' did not end within 0\.05 s/],
  [
    'says too much, and goes on',
    (channel: ssh2.ServerChannel) => void channel.write(Buffer.alloc(2 * 1024 * 1024)),
    60_000,
    /sent more than 1048576 bytes/,
  ],
] as const) {
  test(`a guest that ${what} is a lost VM, and its command is given up`, async () => {
    await using guest = await connectGuest(run);
    await assert.rejects(capture(guest.ssh, 'reseed', { deadlineMs, signal }), { code: 'INFRA', message });
    await guest.givenUp;
  });
}
