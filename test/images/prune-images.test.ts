import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MadeImages } from '../../src/images/made-images.ts';
import { pruneImages } from '../../src/images/prune-images.ts';
import { ServedImages } from '../../src/images/served-images.ts';

const [entry, other] = ['buildkit-v0.20.2', 'buildkit-v0.12.5'];
const free = { claim: () => ({ [Symbol.dispose]: () => undefined }), dryRun: false };

test('pruning keeps of each entry what is served and what was before, and what is not of this installation', async () => {
  const base = await mkdtemp(join(tmpdir(), 'kiln-prune-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(base, { recursive: true }));
  const [data, cache] = [join(base, 'data'), join(base, 'cache')];
  await mkdir(data);
  const [made, served] = [new MadeImages(data), new ServedImages(data)];
  const make = async (of: string, version: string) => {
    const directory = join(cache, `${of}_${version}`);
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'disk.qcow2'), Buffer.alloc(64 * 1024, 1));
    await made.note(of, { version, directory });
    await served.serve(of, { version, directory });
  };
  for (const version of ['v0.1.0', 'v0.1.1', 'v0.1.2', 'v0.1.3']) await make(entry, version);
  await make(other, 'v0.1.0');
  await mkdir(join(cache, 'of-somebody-else'));
  const all = await readdir(cache);

  const expected = ['v0.1.0', 'v0.1.1'].map((version) => ({ entry, version }));
  const named = (images: Awaited<ReturnType<typeof pruneImages>>) =>
    images.map(({ entry: of, version }) => ({ entry: of, version }));
  const would = await pruneImages({ made, served }, { ...free, dryRun: true });
  assert.deepEqual(named(would), expected);
  assert.ok(would.every(({ bytes }) => bytes >= 64 * 1024));
  assert.deepEqual(await pruneImages({ made, served }, { ...free, claim: () => null }), []);
  assert.deepEqual(await readdir(cache), all);

  assert.deepEqual(named(await pruneImages({ made, served }, free)), expected);
  assert.deepEqual(
    (await readdir(cache)).toSorted(),
    [`${other}_v0.1.0`, `${entry}_v0.1.2`, `${entry}_v0.1.3`, 'of-somebody-else'].toSorted(),
  );
  assert.deepEqual(await pruneImages({ made, served }, free), []);
});
