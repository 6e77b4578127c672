import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { KilnError } from '../../src/model/error.ts';
import { connectSsh } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';

test('a guest that refuses a command is a lost VM, and no unknown error', async () => {
  const { signal } = new AbortController();
  const { privateKey, publicKey } = generateKeyPair();
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (guest) => {
    guest.on('error', () => undefined).on('authentication', (context) => context.accept());
    guest.on('session', (accept) => accept().on('exec', (_accept, refuse) => refuse()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = async () => connect(port, '127.0.0.1');
  {
    await using ssh = await connectSsh({ open, hostKey: `ssh-ed25519 ${publicKey}`, privateKey }, signal);
    await assert.rejects(ssh.start('true', signal), (error) => {
      assert.ok(error instanceof KilnError && error.cause instanceof Error);
      assert.equal(error.code, 'INFRA');
      assert.match(error.message, /^The guest did not start a command: /);
      return true;
    });
  }
  server.close();
  await once(server, 'close');
});
