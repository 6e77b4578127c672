import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { openEnvelope, signEnvelope } from '../../src/evidence/dsse.ts';
import { ensureSigningKey, publicKeyPem } from '../../src/evidence/signing-key.ts';
import { installTools } from '../install-tools.ts';

const run = promisify(execFile);
const payloadType = 'application/vnd.in-toto+json';
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-key-'));
});
after(() => rm(directory, { recursive: true }));

test('the key is made once, for its owner alone, and is the same at each start', async () => {
  const key = await ensureSigningKey(directory);
  const path = join(directory, 'signing_ed25519');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const again = await ensureSigningKey(directory);
  assert.equal(again.id, key.id);
  assert.match(key.id, /^[0-9a-f]{64}$/);
  assert.match(publicKeyPem(again), /^-----BEGIN PUBLIC KEY-----\n/);
  assert.ok((await readFile(path, 'utf8')).includes('PRIVATE KEY'));
});

test('two that make the key at once have the same one', async () => {
  const empty = await mkdtemp(join(directory, 'empty-'));
  const keys = await Promise.all([1, 2, 3, 4].map(() => ensureSigningKey(empty)));
  assert.equal(new Set(keys.map(({ id }) => id)).size, 1);
  assert.deepEqual(await readdir(empty), ['signing_ed25519']);
});

test('a key that is damaged, or of another kind, is named', async () => {
  const other = await mkdtemp(join(directory, 'other-'));
  const path = join(other, 'signing_ed25519');
  const { stdout } = await run('openssl', [
    'genpkey',
    '-algorithm',
    'RSA',
    '-pkeyopt',
    'rsa_keygen_bits:2048',
  ]);
  for (const text of ['', 'no key', stdout]) {
    await writeFile(path, text);
    await assert.rejects(ensureSigningKey(other), {
      code: 'CONFIG_INVALID',
      message: /signing_ed25519 is no Ed25519/,
    });
  }
});

test('OpenSSL finds the signature of an envelope good', async () => {
  await installTools([{ find: 'openssl', package: 'openssl' }]);
  const key = await ensureSigningKey(directory);
  const payload = Buffer.from('{"a": "ä"}');
  const envelope = signEnvelope(payload, payloadType, key);
  assert.equal(envelope.signatures[0]?.keyid, key.id);
  const [pem, signature, signed] = ['key.pem', 'sig', 'signed'].map((name) => join(directory, name));
  await writeFile(pem ?? '', publicKeyPem(key));
  await writeFile(signature ?? '', Buffer.from(envelope.signatures[0]?.sig ?? '', 'base64'));
  // The protocol's own words: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
  await writeFile(
    signed ?? '',
    `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} ${payload.toString()}`,
  );
  const words = ['-verify', '-pubin', '-inkey', pem, '-rawin', '-in', signed, '-sigfile', signature];
  const { stdout } = await run('openssl', ['pkeyutl', ...(words as string[])]);
  assert.match(stdout, /Verified Successfully/);
});

test('an envelope opens by its key as it was signed, and not once a bit of it is another', async () => {
  const key = await ensureSigningKey(directory);
  const { publicKey } = key;
  const payload = Buffer.from('{"subject": []}');
  const envelope = signEnvelope(payload, payloadType, key);
  const expected = { payloadType, publicKey };
  assert.ok(openEnvelope(JSON.stringify(envelope), expected).equals(payload));
  const flip = (text: string): string => {
    const bytes = Buffer.from(text, 'base64');
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    return bytes.toString('base64');
  };
  const [signature] = envelope.signatures;
  const changed = [
    { ...envelope, payload: flip(envelope.payload) },
    { ...envelope, payloadType: 'text/plain' },
    { ...envelope, signatures: [{ ...signature, sig: flip(signature?.sig ?? '') }] },
    { ...envelope, signatures: [] },
    {},
  ];
  for (const one of changed)
    assert.throws(() => openEnvelope(JSON.stringify(one), expected), { code: 'EVIDENCE_INVALID' });
  assert.throws(() => openEnvelope('{', expected), { code: 'EVIDENCE_INVALID' });
});

test('an envelope of another key, or of another kind of payload, does not open', async () => {
  const key = await ensureSigningKey(directory);
  const { publicKey } = key;
  const other = await mkdtemp(join(directory, 'another-'));
  const stranger = await ensureSigningKey(other);
  const text = JSON.stringify(signEnvelope(Buffer.from('{}'), payloadType, key));
  assert.throws(() => openEnvelope(text, { payloadType, publicKey: stranger.publicKey }), {
    code: 'EVIDENCE_INVALID',
  });
  assert.throws(() => openEnvelope(text, { payloadType: 'text/plain', publicKey }), {
    code: 'EVIDENCE_INVALID',
  });
});
