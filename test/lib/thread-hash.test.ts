import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ThreadHash } from '../../src/lib/thread-hash.ts';

async function hashInThread(pieces: readonly Uint8Array[]): Promise<string> {
  using hash = new ThreadHash();
  for (const piece of pieces) await hash.update(piece);
  return await hash.digest();
}

test('hashes in the thread are those of node:crypto, each its own, also of shared memory', async () => {
  const inputs = Array.from({ length: 8 }, (_, index) => [
    randomBytes(index * 1000),
    Buffer.from(new SharedArrayBuffer(70_000)).fill(randomBytes(70_000)).subarray(index),
  ]);
  const expected = inputs.map((pieces) => createHash('sha256').update(Buffer.concat(pieces)).digest('hex'));
  assert.deepEqual(await Promise.all(inputs.map(hashInThread)), expected);
});

test('who disposes a hash that is still asked hears that it has ended, and the next one works', async () => {
  const hash = new ThreadHash();
  const asked = hash.digest();
  hash[Symbol.dispose]();
  await assert.rejects(asked, /has ended/);
  assert.equal(await hashInThread([]), createHash('sha256').digest('hex'));
});

test('once the thread has died whoever asks hears it, before and after, and the next hash has a new thread', async () => {
  using hash = new ThreadHash();
  const noBytes: unknown = 1;
  await assert.rejects(hash.update(noBytes as Uint8Array), /has ended/);
  await assert.rejects(hash.update(randomBytes(1)), /has ended/);
  await assert.rejects(hash.digest(), /has ended/);
  assert.equal(await hashInThread([]), createHash('sha256').digest('hex'));
});
