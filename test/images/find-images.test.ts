import assert from 'node:assert/strict';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openServed } from '../../src/images/find-images.ts';
import { ServedImages } from '../../src/images/served-images.ts';
import { openVmImage, writeManifest } from '../../src/images/vm-image-files.ts';
import type { VmImage } from '../../src/model/vm-image.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';

const { signal } = new AbortController();
const entry = 'buildkit-v0.20.2';

async function createFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-images-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function createImage(parent: string, name: string): Promise<string> {
  const directory = join(parent, name);
  await mkdir(directory);
  for (const file of ['kernel', 'initrd', 'disk.qcow2']) await writeFile(join(directory, file), `${name}\n`);
  await writeFile(join(directory, 'versions.json'), JSON.stringify({ name }));
  await writeManifest({ directory, entry, source: 'packages' }, signal);
  return directory;
}

async function damage(directory: string): Promise<void> {
  await using file = await open(join(directory, 'disk.qcow2'), 'r+');
  await file.write('X', 0);
}

test('a damaged image gives way to the one before it, and that to the first; what is served is asked for each time', async () => {
  await using folder = await createFolder();
  const made = new Map<string, string>();
  for (const name of ['first', 'v0.1.0', 'v0.1.1']) made.set(name, await createImage(folder.path, name));
  const directoryOf = (name: string): string => made.get(name) ?? assert.fail();
  const served = new ServedImages(folder.path);
  const logger = createMemoryLogger();
  const request = { sealsDirectory: null } as Parameters<typeof openServed>[1]['request'];
  const first = (linked: AbortSignal): Promise<VmImage> =>
    openVmImage({ entry, directory: directoryOf('first'), record: null }, linked);
  const openImage = openServed(entry, { request, served, logger }, first);
  const opened = async (): Promise<string | undefined> => (await openImage(signal)).versions['name'];
  const serve = (version: string) => served.serve(entry, { version, directory: directoryOf(version) });

  assert.equal(await opened(), 'first');
  await serve('v0.1.0');
  assert.equal(await opened(), 'v0.1.0');
  await serve('v0.1.1');
  assert.equal(await opened(), 'v0.1.1');
  await damage(directoryOf('v0.1.1'));
  assert.equal(await opened(), 'v0.1.0');
  assert.match(logger.said.at(-1)?.message ?? '', /passed over for the one before it/);
  await damage(directoryOf('v0.1.0'));
  assert.equal(await opened(), 'first');
  // The way back is written down as well.
  await served.serve(entry, null);
  assert.deepEqual(await served.read(entry), {
    served: null,
    previous: { version: 'v0.1.1', directory: directoryOf('v0.1.1') },
  });
  await damage(directoryOf('first'));
  const before = logger.said.length;
  await assert.rejects(openImage(signal), { code: 'IMAGE_CORRUPT' });
  // Whoever is told of the first logs it.
  assert.equal(logger.said.length, before + 1);
});

test('an image that is served once more, as after a crash, has the same one before it', async () => {
  await using folder = await createFolder();
  const served = new ServedImages(folder.path);
  const [one, two] = ['v0.1.0', 'v0.1.1'].map((version) => ({ version, directory: `/${version}` }));
  assert.ok(one && two);
  for (const next of [one, two, two]) await served.serve(entry, next);
  assert.deepEqual(await served.read(entry), { served: two, previous: one });
});

test('a record that is damaged is told, and not taken for another', async () => {
  await using folder = await createFolder();
  await writeFile(join(folder.path, `${entry}.json`), '{"served":');
  await assert.rejects(new ServedImages(folder.path).read(entry), { code: 'INTERNAL' });
});
