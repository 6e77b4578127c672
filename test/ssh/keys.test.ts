import assert from 'node:assert/strict';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { ensureKeyPair, generateKeyPair } from '../../src/ssh/keys.ts';
import { createFolder } from '../store/harness.ts';

test('every key pair is whole, also where the public key begins with a zero byte', () => {
  // One in 256 of those that ssh2 makes is not.
  for (let made = 0; made < 2000; made += 1) {
    const { privateKey, publicKey } = generateKeyPair();
    const parsed = ssh2.utils.parseKey(privateKey);
    assert.ok(!(parsed instanceof Error));
    assert.equal(Buffer.from(publicKey, 'base64').length, 4 + 'ssh-ed25519'.length + 4 + 32);
  }
});

test('an installation makes its key pair once, for its owner alone', async () => {
  await using folder = await createFolder();
  const made = await ensureKeyPair(folder.path);
  assert.deepEqual(await ensureKeyPair(folder.path), made);
  assert.deepEqual(await readdir(folder.path), ['ssh_ed25519']);
  assert.equal((await stat(join(folder.path, 'ssh_ed25519'))).mode & 0o777, 0o600);
});

test('a key file that holds no key says what to do', async () => {
  await using folder = await createFolder();
  await writeFile(join(folder.path, 'ssh_ed25519'), 'no key');
  await assert.rejects(ensureKeyPair(folder.path), { code: 'CONFIG_INVALID', message: /remove it/ });
});
