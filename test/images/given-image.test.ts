import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { ensureVmImage } from '../../src/images/ensure-vm-image.ts';
import type { ImageRequest } from '../../src/images/image-request.ts';
import { imageRequest } from './image-request.ts';

const entry = 'buildkit-v0.20.2';
const versions = { buildkit: 'buildkitd github.com/moby/buildkit v0.20.2 97437fdd', runc: '1.2.5' };

/** A request of somebody who may make no image. */
async function createCache(): Promise<AsyncDisposable & { request: ImageRequest; given: string }> {
  const cacheDirectory = await mkdtemp(join(tmpdir(), 'kiln-given-'));
  const request = imageRequest({
    ...{ cacheDirectory, imagesDirectory: join(import.meta.dirname, '../../images') },
    ...{ asRoot: false, sources: 'auto' },
  });
  return {
    ...{ request, given: join(cacheDirectory, 'given', entry) },
    [Symbol.asyncDispose]: () => rm(cacheDirectory, { recursive: true }),
  };
}

async function give(folder: string, content: string, said: object = versions): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const name of ['kernel', 'initrd', 'disk.qcow2']) await writeFile(join(folder, name), content);
  await writeFile(join(folder, 'versions.json'), JSON.stringify(said));
}

test('a VM image that lies in given/ENTRY is taken in place of one that only root could make', async () => {
  await using cache = await createCache();
  await assert.rejects(ensureVmImage(cache.request), { code: 'REQUIREMENT_MISSING' });
  await give(cache.given, 'first');
  const image = await ensureVmImage(cache.request);
  assert.deepEqual({ ...image.versions }, versions);
  const given = await stat(join(cache.given, 'disk.qcow2'));
  assert.equal((await stat(image.disk)).ino, given.ino, 'it is the same file');
  const manifest = JSON.parse(await readFile(join(dirname(image.disk), 'manifest.json'), 'utf8'));
  assert.equal(manifest.source, 'given');
  assert.equal((await ensureVmImage(cache.request)).digest, image.digest);
});

test('one that is given later, in a folder of its own, does not change what was taken', async () => {
  await using cache = await createCache();
  await give(cache.given, 'first');
  const image = await ensureVmImage(cache.request);
  await give(`${cache.given}.new`, 'second');
  await rm(cache.given, { recursive: true });
  await rename(`${cache.given}.new`, cache.given);
  assert.equal(await readFile(image.kernel, 'utf8'), 'first');
  assert.equal((await ensureVmImage(cache.request)).digest, image.digest);
});

test('the image of another entry, and a folder that says nothing of itself, are refused by name', async () => {
  await using cache = await createCache();
  for (const said of [
    { ...versions, runc: '1.1.12' },
    { ...versions, buildkit: 'buildkitd m v0.12.5 x' },
    {},
  ]) {
    await give(cache.given, 'other', said);
    await assert.rejects(ensureVmImage(cache.request), {
      code: 'CONFIG_INVALID',
      message: `${cache.given} holds another VM image than that of ${entry}: its versions.json must name BuildKit v0.20.2 and runc 1.2.5.`,
    });
  }
});

test('a part of an image is refused, and said what is missing of it', async () => {
  await using cache = await createCache();
  await give(cache.given, 'a part');
  await rm(join(cache.given, 'initrd'));
  await assert.rejects(ensureVmImage(cache.request), {
    code: 'CONFIG_INVALID',
    message: new RegExp(`^${cache.given} has no initrd; `),
  });
});
