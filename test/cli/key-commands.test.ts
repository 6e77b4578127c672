import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureSigningKey, publicKeyPem } from '../../src/evidence/signing-key.ts';
import { runProgram } from '../run-program.ts';

test('the public key of an installation is printed, the same each time, and nothing of the private one', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'kiln-cli-'));
  try {
    const data = join(parent, 'data');
    const answers = [];
    for (const _twice of [1, 2])
      answers.push(await runProgram('scripts/kiln.ts', ['key'], { KILN_DATA_DIR: data }));
    const [first, second] = answers;
    assert.deepEqual([first?.status, second?.stdout], [0, first?.stdout]);
    assert.equal(createPublicKey(first?.stdout ?? '').asymmetricKeyType, 'ed25519');
    const key = await ensureSigningKey(data);
    assert.equal(first?.stdout, publicKeyPem(key));
    assert.ok(first?.stderr.includes(key.id));
    // QEMU's users pass through the data folder.
    assert.equal((await stat(data)).mode & 0o777, 0o711);
  } finally {
    await rm(parent, { recursive: true });
  }
});
