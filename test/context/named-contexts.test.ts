import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openStaging, type StagingOptions } from '../../src/context/context-staging.ts';
import type { ContextStaging, SealedContexts } from '../../src/model/context.ts';
import { extractImage } from './image.ts';
import { inChunks, Staging } from './staging.ts';
import { file, folder, tar } from './tar.ts';
import { zip } from './zip.ts';

const policy = { customFrontends: false };
const dockerfile = tar(file('Dockerfile', 'FROM scratch\n'), file('a', 'of the context'));
const hex = 'a'.repeat(64);
const digest = `sha256:${hex}` as const;

function open(staging: Staging, limits: Partial<StagingOptions['limits']> = {}): Promise<ContextStaging> {
  return openStaging({
    ...{ directory: staging.directory, minFreeBytes: 0, signal: new AbortController().signal },
    limits: { maxBytes: 1e9, maxUploadBytes: 1e9, maxEntries: 1000, ...limits },
  });
}

function add(contexts: ContextStaging, name: string | null, archive: Buffer): Promise<void> {
  return contexts.add(name, { bytes: inChunks(archive), declared: null });
}

const index = (...digests: readonly string[]): string =>
  JSON.stringify({ schemaVersion: 2, manifests: digests.map((digest) => ({ digest, size: 2 })) });

/** An archive that is an OCI image layout. */
const layout = (indexJson = index(digest), blob = `blobs/sha256/${hex}`): Buffer =>
  tar(file('oci-layout', '{}'), file('index.json', indexJson), file(blob, '{}'));

async function sealNamed(name: string, archive: Buffer): Promise<SealedContexts> {
  await using staging = await Staging.create();
  const contexts = await open(staging);
  await add(contexts, name, archive);
  return await contexts.seal({ dockerfile: null }, policy);
}

test('each context is a folder of one image, in whatever order and format they come', async () => {
  await using staging = await Staging.create();
  const contexts = await open(staging);
  await add(contexts, 'docker.io/library/alpine:3', gzipSync(tar(file('a', 'of alpine'), folder('d'))));
  await add(contexts, null, dockerfile);
  await add(contexts, 'lib', zip([{ name: 'a', content: 'of lib' }]));
  assert.deepEqual(contexts.names, ['alpine:3', 'lib']);
  assert.equal(contexts.summary?.entries, 2);
  await using sealed = await contexts.seal({ dockerfile: 'Dockerfile' }, policy);
  assert.deepEqual(
    sealed.named.map(({ name, directory, imageDigest, summary }) => [
      ...[name, directory, imageDigest, summary.entries],
    ]),
    [
      ['alpine:3', '1', null, 2],
      ['lib', '2', null, 1],
    ],
  );
  assert.equal(sealed.directory, 'context');
  await using image = await extractImage(sealed.path);
  assert.deepEqual((await readdir(image.root)).toSorted(), ['1', '2', 'context']);
  const contents = ['context', '1', '2'].map((name) => readFile(join(image.root, name, 'a'), 'utf8'));
  assert.deepEqual(await Promise.all(contents), ['of the context', 'of alpine', 'of lib']);
});

test('without a context of its own a build has an empty one', async () => {
  await using staging = await Staging.create();
  const contexts = await open(staging);
  await add(contexts, 'lib', tar(file('a')));
  await using sealed = await contexts.seal({ dockerfile: null }, policy);
  assert.deepEqual([sealed.summary, sealed.directory], [null, 'context']);
  await using image = await extractImage(sealed.path);
  assert.deepEqual(await readdir(image.directory), []);
});

test('an OCI image layout is an image, by the one digest that its index names', async () => {
  for (const archive of [layout(), layout(index(digest, digest))]) {
    const { named } = await sealNamed('base', archive);
    assert.equal(named[0]?.imageDigest, digest);
  }
});

test('an OCI image layout has the folder that older containerds make in it', async () => {
  await using staging = await Staging.create();
  const contexts = await open(staging);
  await add(contexts, 'base', layout());
  await using sealed = await contexts.seal({ dockerfile: null }, policy);
  await using image = await extractImage(sealed.path);
  assert.deepEqual(await readdir(join(image.root, '1/ingest')), []);
});

for (const [what, archive, message] of [
  ['names no image', layout(index()), /names 0 images; leave exactly one in it/],
  ['names two', layout(index(digest, `sha256:${'b'.repeat(64)}`)), /names 2 images/],
  [
    'names one that is not there',
    layout(index(digest), 'blobs/other'),
    /there is no file blobs\/sha256\/a{64}/,
  ],
  ['has no index', tar(file('oci-layout', '{}')), /it has no index\.json/],
  ['has an index that is no JSON', layout('{'), /is not JSON/],
  ['nests without end', layout('['.repeat(500_000)), /is not JSON/],
  ['names by another hash', layout(index('sha512:ab')), /names no manifests by sha256/],
  ['names a path', layout(index('sha256:../../../etc/passwd')), /names no manifests by sha256/],
  ['has a huge index', layout(`"${' '.repeat(2 << 20)}"`), /is larger than 1048576 bytes/],
] as const) {
  test(`an OCI image layout that ${what} is refused with its name, and leaves nothing`, async () => {
    await using staging = await Staging.create();
    const contexts = await open(staging);
    await add(contexts, 'base', archive);
    const refused = contexts.seal({ dockerfile: null }, policy);
    await assert.rejects(refused, { code: 'OCI_LAYOUT_INVALID', message });
    await assert.rejects(refused, { message: /^Context 'base': The archive is an OCI image layout, and / });
    assert.deepEqual(await staging.files(), []);
  });
}

const MiB = 1 << 20;
for (const [what, limits, archives, code] of [
  [
    'entries',
    { maxEntries: 4 },
    [dockerfile, dockerfile, tar(file('one too many'))],
    'ARCHIVE_TOO_MANY_ENTRIES',
  ],
  [
    'unpacked bytes',
    { maxBytes: 50_000 },
    [0, 1].map(() => tar(file('a', 'x'.repeat(30_000)))),
    'ARCHIVE_TOO_LARGE',
  ],
  [
    'uploaded bytes',
    { maxUploadBytes: 50_000 },
    [0, 1].map(() => tar(file('a', 'x'.repeat(30_000)))),
    'UPLOAD_TOO_LARGE',
  ],
  [
    'their ratio',
    {},
    [gzipSync(tar(file('a', 'x'))), gzipSync(tar(file('0', Buffer.alloc(20 * MiB))))],
    'ARCHIVE_TOO_LARGE',
  ],
] as const) {
  test(`the limit of ${what} is for all contexts of a build together, and nothing is left of them`, async () => {
    await using staging = await Staging.create();
    const contexts = await open(staging, limits);
    for (const [index, archive] of archives.entries()) {
      const added = add(contexts, index === 0 ? null : `n${index}`, archive);
      if (index < archives.length - 1) await added;
      else await assert.rejects(added, { code });
    }
    assert.deepEqual(await staging.files(), []);
    await assert.rejects(add(contexts, 'more', dockerfile), /sealed or removed before/);
  });
}

for (const [name, code, message] of [
  ['../x', 'PARAM_INVALID', /'\.\.\/x', is neither/],
  ['alpine:latest', 'PARAM_INVALID', /'alpine' is given twice/],
] as const) {
  test(`a context called ${name} is refused before a byte of it is read`, async () => {
    await using staging = await Staging.create();
    const contexts = await open(staging);
    await add(contexts, 'alpine', tar(file('a')));
    const bytes = { [Symbol.asyncIterator]: () => assert.fail('it was read') };
    await assert.rejects(contexts.add(name, { bytes, declared: null }), { code, message });
    assert.deepEqual(await staging.files(), []);
  });
}

for (const [archive, code, message] of [
  [
    tar(file('../evil')),
    'ENTRY_ESCAPES',
    /^Context 'lib': Archive entry '\.\.\/evil' has '\.\.' in its path/,
  ],
  [tar(file('.dockerignore', '[')), 'DOCKERIGNORE_INVALID', /^Context 'lib': Line 1 /],
] as const) {
  test(`what is wrong with a named context is told with its name: ${code}`, async () => {
    await assert.rejects(sealNamed('lib', archive), { code, message });
  });
}

test('two contexts never arrive at once', async () => {
  await using staging = await Staging.create();
  const contexts = await open(staging);
  const first = add(contexts, 'a', tar(file('a')));
  await assert.rejects(add(contexts, 'b', tar(file('b'))), /one is still arriving/);
  await first;
  await contexts[Symbol.asyncDispose]();
  assert.deepEqual(await staging.files(), []);
});
