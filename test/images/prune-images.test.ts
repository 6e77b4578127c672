import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MadeImages } from '../../src/images/made-images.ts';
import { pruneImages } from '../../src/images/prune-images.ts';
import { ServedImages } from '../../src/images/served-images.ts';
import type { ImageTarget } from '../../src/model/operation.ts';

const [entry, other] = ['buildkit-v0.20.2', 'buildkit-v0.12.5'];
const free = { claim: () => ({ [Symbol.dispose]: () => undefined }), dryRun: false };

test('pruning keeps of each entry what is served and what was before, and what is not of this installation', async () => {
  const base = await mkdtemp(join(tmpdir(), 'kiln-prune-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(base, { recursive: true }));
  const [data, cache] = [join(base, 'data'), join(base, 'cache')];
  await mkdir(data);
  const [made, served] = [new MadeImages(data), new ServedImages(data)];
  const unloaded: string[] = [];
  const images = { made, served, unload: async (reference: string) => void unloaded.push(reference) };
  const note = async (of: string, kind: ImageTarget, version: string): Promise<string> => {
    const directory = join(cache, `${of}_${version}${kind === 'vm' ? '' : `_${kind}`}`);
    await mkdir(join(directory, 'deep'), { recursive: true });
    await writeFile(join(directory, 'deep/file'), Buffer.alloc(64 * 1024, 1));
    await made.note(of, { kind, version, directory });
    return directory;
  };
  const make = async (of: string, version: string) => {
    if (of === entry) for (const kind of ['ctr', 'dqd'] as const) await note(of, kind, version);
    await served.serve(of, { version, directory: await note(of, 'vm', version) });
  };
  for (const version of ['v0.1.0', 'v0.1.1', 'v0.1.2', 'v0.1.3']) await make(entry, version);
  await make(other, 'v0.1.0');
  await mkdir(join(cache, 'of-somebody-else'));

  // Of an operation that failed before its VM image was made.
  await note(other, 'ctr', 'v0.1.1');
  const all = await readdir(cache);

  const expected = [
    `${other} ctr v0.1.1`,
    ...['v0.1.0', 'v0.1.1'].flatMap((version) =>
      ['ctr', 'dqd', 'vm'].map((kind) => `${entry} ${kind} ${version}`),
    ),
  ];
  const named = (pruned: Awaited<ReturnType<typeof pruneImages>>) =>
    pruned.map(({ entry: of, kind, version }) => `${of} ${kind} ${version}`);
  const would = await pruneImages(images, { ...free, dryRun: true });
  assert.deepEqual(named(would), expected);
  assert.ok(would.every(({ bytes }) => bytes >= 64 * 1024));
  assert.deepEqual(await pruneImages(images, { ...free, claim: () => null }), []);
  assert.deepEqual(await readdir(cache), all);

  assert.deepEqual(named(await pruneImages(images, free)), expected);
  const left = ['v0.1.2', 'v0.1.3'].flatMap((version) =>
    ['', '_ctr', '_dqd'].map((kind) => `${entry}_${version}${kind}`),
  );
  assert.deepEqual(
    (await readdir(cache)).toSorted(),
    [`${other}_v0.1.0`, ...left, 'of-somebody-else'].toSorted(),
  );
  assert.deepEqual(
    unloaded,
    ['v0.1.0', 'v0.1.1'].map((version) => `kiln/dqd:${entry}-${entry}_${version}_dqd`),
  );
  assert.deepEqual(await pruneImages(images, free), []);
});
