import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listEntries } from '../../src/catalog/list-entries.ts';
import { contentKey } from '../../src/images/cached-step.ts';
import { ensureCtrImage } from '../../src/images/ctr-image.ts';
import { ensureVmImage, findVmImages } from '../../src/images/ensure-vm-image.ts';
import type { TargetBuild } from '../../src/images/image-builder.ts';
import { firstImageOf, type ImageRequest } from '../../src/images/image-request.ts';
import { makingOf } from '../../src/images/making.ts';
import { writeOciLayout } from '../../src/images/oci-layout.ts';
import { ctrInputs, readRecipe } from '../../src/images/recipe.ts';
import { imageRequest } from './image-request.ts';

const imagesDirectory = join(import.meta.dirname, '../../images');
const { signal } = new AbortController();
const base = 'buildkit-v0.20.2';
/** What a reference leads to in the registry. */
const published = `sha256:${'e'.repeat(64)}`;

type Parts = AsyncDisposable & {
  readonly request: ImageRequest;
  /** Folder of the derived entry. */
  readonly own: string;
  readonly built: TargetBuild[];
};

async function writeLayout(directory: string, text: string): Promise<{ digest: string }> {
  await mkdir(directory, { recursive: true });
  const tar = join(directory, 'layer.tar');
  await writeFile(tar, text);
  return writeOciLayout({ tar, directory }, signal);
}

/** The entry `mine`, and a builder that only notes what it is to build, and makes an image of a few bytes. */
async function createParts(from: string, onBuild: (own: string) => Promise<void>): Promise<Parts> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-derived-image-'));
  const own = join(directory, 'entries/mine');
  await mkdir(own, { recursive: true });
  await writeFile(join(own, 'Dockerfile'), `FROM ${from}\nCOPY tool /usr/local/bin/\n`);
  await writeFile(join(own, 'tool'), '#!/bin/sh\n');
  const built: TargetBuild[] = [];
  const request = imageRequest({
    ...{ cacheDirectory: join(directory, 'cache'), imagesDirectory, entry: 'mine' },
    catalog: await listEntries(imagesDirectory, join(directory, 'entries')),
    openBuilder: async () => ({
      lookUp: async () => ({ digest: published }),
      async build(build) {
        built.push(build);
        await onBuild(own);
        if (build.output.kind === 'layout') await writeLayout(build.output.directory, 'derived');
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
  });
  return { request, own, built, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

async function keyOfBase(request: ImageRequest): Promise<string> {
  const first = firstImageOf(base, request);
  return contentKey(ctrInputs(await readRecipe(first), await makingOf(first)));
}

/** The ctr image of the base, as an earlier step left it in the cache. */
async function putBase(request: ImageRequest): Promise<string> {
  const directory = join(request.cacheDirectory, 'ctr', await keyOfBase(request));
  const { digest } = await writeLayout(join(directory, 'layout'), 'base');
  const record = { source: 'packages', materials: { base: `sha256:${'b'.repeat(64)}` } };
  await writeFile(join(directory, 'ctr.json'), JSON.stringify(record));
  return digest;
}

const nothing = async (): Promise<void> => undefined;

test("its own Dockerfile is built with the base's ctr image under the name that it has there, and the record tells both (simulated builder)", async () => {
  await using parts = await createParts(`ctr_${base}`, nothing);
  const { request, own, built } = parts;
  const digest = await putBase(request);
  const made = await ensureCtrImage(request);
  const layout = join(request.cacheDirectory, 'ctr', await keyOfBase(request), 'layout');
  assert.deepEqual(
    built.map((build) => [build.own, build.args, build.contexts]),
    [
      [
        own,
        { SOURCE_DATE_EPOCH: '1735689600' },
        [{ stage: `ctr_${base}`, kind: 'layout', path: layout, digest }],
      ],
    ],
  );
  assert.deepEqual([made.source, made.materials['ctr']], ['packages', digest]);
  assert.deepEqual(Object.keys(made.materials), ['base', 'ctr', 'dockerfile']);
  assert.notEqual(made.digest, digest);
  assert.equal((await ensureCtrImage(request)).directory, made.directory);
  assert.equal(built.length, 1);
  const index = await readFile(join(made.layout, 'index.json'), 'utf8');
  assert.ok(index.includes(made.digest));
});

test('whatever the build sees of its folder makes another image, and so does its name (simulated builder)', async () => {
  await using parts = await createParts(`ctr_${base}`, nothing);
  const { request, own, built } = parts;
  await putBase(request);
  const directories = [(await ensureCtrImage(request)).directory];
  await chmod(join(own, 'tool'), 0o755);
  directories.push((await ensureCtrImage(request)).directory);
  await writeFile(join(own, 'tool'), '#!/bin/sh\nexit 1\n');
  directories.push((await ensureCtrImage(request)).directory);
  const catalog = request.catalog.map((entry) =>
    entry.name === 'mine' ? { ...entry, name: 'yours' } : entry,
  );
  directories.push((await ensureCtrImage({ ...request, entry: 'yours', catalog })).directory);
  assert.equal(new Set(directories).size, 4);
  assert.equal(built.length, 4);
});

test('a version is of one installation: another that shares the cache makes its own, and both share the first images', async () => {
  await using parts = await createParts(`ctr_${base}`, nothing);
  const { request } = parts;
  await putBase(request);
  const other = { ...request, installation: 'fedcba9876543210' };
  const directories = new Set<string>();
  for (const one of [request, other])
    directories.add((await ensureCtrImage({ ...one, version: 'v0.1.0' })).directory);
  assert.equal(directories.size, 2);
  for (const one of [request, other]) directories.add((await ensureCtrImage(one)).directory);
  assert.equal(directories.size, 3);
});

test('one that goes on from a published image has that pulled by the digest that it has now, and nothing is made for it (simulated builder)', async () => {
  const from = `registry.example.org/archive:ctr_${base}_v0.1.0`;
  await using parts = await createParts(from, nothing);
  const { source, materials } = await ensureCtrImage(parts.request);
  assert.deepEqual(parts.built[0]?.contexts, [
    { stage: from, kind: 'remote', reference: `${from}@${published}` },
  ]);
  assert.deepEqual([source, materials['ctr']], ['registry', published]);
  await using exact = await createParts(`${from}@${published}`, nothing);
  await ensureCtrImage(exact.request);
  assert.deepEqual(exact.built[0]?.contexts, []);
});

test('a folder that is changed while it is built makes no image (simulated builder)', async () => {
  await using parts = await createParts(`ctr_${base}`, (own) => writeFile(join(own, 'tool'), 'another'));
  await putBase(parts.request);
  await assert.rejects(ensureCtrImage(parts.request), {
    code: 'INFRA',
    message: /entries\/mine was changed while/,
  });
});

test('its VM image is found again at the next start, also one that was given, and not that of its base', async () => {
  await using parts = await createParts(`ctr_${base}`, nothing);
  const { request } = parts;
  const given = join(request.cacheDirectory, 'given/mine');
  await mkdir(given, { recursive: true });
  for (const name of ['kernel', 'initrd', 'disk.qcow2']) await writeFile(join(given, name), name);
  const versions = { buildkit: 'buildkitd github.com/moby/buildkit v0.20.2 97437fdd', runc: '1.2.5' };
  await writeFile(join(given, 'versions.json'), JSON.stringify(versions));
  const image = await ensureVmImage(request);
  assert.equal(image.entry, 'mine');
  const found = await findVmImages(request.catalog, request);
  assert.deepEqual([...found.keys()], ['mine']);
  assert.equal((await found.get('mine')?.(signal))?.digest, image.digest);
});
