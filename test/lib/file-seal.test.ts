import assert from 'node:assert/strict';
import { copyFile, mkdtemp, open, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FileSeal, looksSealed, sealFile } from '../../src/lib/file-seal.ts';

const { signal } = new AbortController();
const MiB = 1024 * 1024;
/** Whole seconds: Node cannot put back the nanoseconds of a time. */
const someTime = 1_000_000_000;

async function createSealed(bytes: Buffer): Promise<AsyncDisposable & { path: string; seal: FileSeal }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-seal-'));
  const path = join(directory, 'file');
  await writeFile(path, bytes);
  await utimes(path, someTime, someTime);
  const seal = await sealFile(path, signal);
  return { path, seal, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

/** Overwrites in place and puts the time of the last change back. */
async function overwrite(path: string, position: number, bytes: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.alloc(bytes, 7), 0, bytes, position);
  await utimes(path, someTime, someTime);
}

for (const size of [0, 1, 64 * 1024, 3 * MiB, 20 * MiB + 5]) {
  test(`a file of ${size} bytes that nobody touched is what it was`, async () => {
    await using file = await createSealed(Buffer.alloc(size));
    assert.equal(await looksSealed(file.path, file.seal), true);
  });
}

test('what was cut, written, overwritten widely or replaced no longer looks the same', async () => {
  const changes: Record<string, (path: string) => Promise<void>> = {
    cut: (path) => truncate(path, 20 * MiB - 1),
    written: (path) => utimes(path, 1, 1),
    overwritten: (path) => overwrite(path, 4 * MiB, MiB),
    async replaced(path) {
      await copyFile(path, `${path}.copy`);
      await utimes(`${path}.copy`, someTime, someTime);
      await rename(`${path}.copy`, path);
    },
  };
  for (const [name, change] of Object.entries(changes)) {
    await using file = await createSealed(Buffer.alloc(20 * MiB));
    await change(file.path);
    assert.equal(await looksSealed(file.path, file.seal), false, name);
  }
});

test('one byte between the samples is seen by the whole check', async () => {
  await using file = await createSealed(Buffer.alloc(20 * MiB));
  // The samples are 64 KiB each, 324 KiB apart.
  await overwrite(file.path, 200 * 1024, 1);
  assert.equal(await looksSealed(file.path, file.seal), true);
  assert.notEqual((await sealFile(file.path, signal)).sha256, file.seal.sha256);
});

test('a file that is gone cannot be looked at', async () => {
  await using file = await createSealed(Buffer.alloc(1));
  await assert.rejects(looksSealed(`${file.path}.gone`, file.seal), { code: 'ENOENT' });
});
