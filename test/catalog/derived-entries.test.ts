import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findEntry } from '../../src/catalog/catalog.ts';
import { listEntries } from '../../src/catalog/list-entries.ts';

const images = join(import.meta.dirname, '../../images');

/** A folder of entries, by name what their Dockerfile says; null for a folder without one. */
async function createFolder(
  dockerfiles: Readonly<Record<string, string | null>>,
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-derived-'));
  for (const [name, text] of Object.entries(dockerfiles)) {
    await mkdir(join(path, name));
    if (text !== null) await writeFile(join(path, name, 'Dockerfile'), text);
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test('a folder whose Dockerfile goes on from a ctr image is an entry, with what that one pins and can do', async () => {
  await using folder = await createFolder({
    'company-ca': 'FROM ctr_buildkit-v0.20.2\nCOPY ca.crt /usr/local/share/ca-certificates/\n',
    tools:
      'FROM golang AS tool\nfrom --platform=linux/amd64 r.example:5000/archive:ctr_buildkit-v0.12.5_v0.1.0 AS x\n',
    '.git': null,
  });
  await writeFile(join(folder.path, 'README.md'), 'ours');
  await symlink('tools', join(folder.path, 'linked'));
  const entries = await listEntries(images, folder.path);
  const ca = findEntry(entries, 'company-ca');
  const base = findEntry(entries, 'v0.20.2');
  assert.deepEqual([base.name, base.derivation], ['buildkit-v0.20.2', null]);
  assert.deepEqual([ca.pins, ca.capabilities, ca.state], [base.pins, base.capabilities, 'unbuilt']);
  assert.deepEqual(ca.derivation, {
    base: 'buildkit-v0.20.2',
    reference: 'ctr_buildkit-v0.20.2',
    directory: join(folder.path, 'company-ca'),
  });
  assert.deepEqual(
    entries.slice(-3).map(({ name, derivation }) => [name, derivation?.base, derivation?.reference]),
    [
      ['company-ca', 'buildkit-v0.20.2', 'ctr_buildkit-v0.20.2'],
      ['linked', 'buildkit-v0.12.5', 'r.example:5000/archive:ctr_buildkit-v0.12.5_v0.1.0'],
      ['tools', 'buildkit-v0.12.5', 'r.example:5000/archive:ctr_buildkit-v0.12.5_v0.1.0'],
    ],
  );
});

test('an entry that does not exist is told with those that have names of their own', async () => {
  await using folder = await createFolder({ tools: 'FROM ctr_buildkit-v0.20.2' });
  const entries = await listEntries(images, folder.path);
  assert.throws(() => findEntry(entries, 'tool'), { message: /nearest: tools, buildkit-/ });
  assert.throws(() => findEntry(entries, 'v0.20.9'), { message: /nearest: buildkit-v0\.20\.2, / });
  for (const asked of ['../tools', 'tools/', './tools', 'Tools', 'ctr_buildkit-v0.20.2'])
    assert.throws(() => findEntry(entries, asked), { code: 'BUILDKIT_UNKNOWN' }, asked);
});

test('no name is taken that could be one of the archive, a tag of another image, or a path', async () => {
  for (const name of [
    ...['buildkit-v0.20.2', 'buildkit-mine', 'ctr-mine', 'ctr_mine', 'v0.20.2', 'Mine', 'mine_v0.1.0'],
    ...['mine.made', 'mine-', '-mine', 'a--b', '1st', 'a b', 'a=1', 'ä', 'a'.repeat(41)],
  ]) {
    await using folder = await createFolder({ [name]: 'FROM ctr_buildkit-v0.20.2' });
    await assert.rejects(
      listEntries(images, folder.path),
      { code: 'CONFIG_INVALID', message: /^KILN_ENTRIES_DIR: \S.* is no name of an entry: / },
      name,
    );
  }
});

for (const [title, text, message] of [
  ['has no Dockerfile', null, /mine holds no Dockerfile\.$/],
  ['goes on from no ctr image', 'FROM ubuntu:24.04\n', /Dockerfile derives from no ctr image; .* FROM ctr_b/],
  [
    'names one in a comment alone',
    '# FROM ctr_buildkit-v0.20.2\nFROM scratch\n',
    /derives from no ctr image;/,
  ],
  [
    'goes on from two',
    'FROM ctr_buildkit-v0.20.2\nFROM ctr_buildkit-v0.12.5\n',
    /several ctr images: ctr_buildkit-v0\.20\.2, ctr_buildkit-v0\.12\.5\.$/,
  ],
  ['goes on from one that is none', 'FROM ctr_buildkit-v0.99.0\n', /from buildkit-v0\.99\.0, of which/],
] as const) {
  test(`a folder that ${title} is refused by name`, async () => {
    await using folder = await createFolder({ mine: text });
    await assert.rejects(listEntries(images, folder.path), { code: 'CONFIG_INVALID', message });
  });
}

test('a folder of entries that is not there is told by the name of its setting', async () => {
  await assert.rejects(listEntries(images, '/nowhere/at/all'), {
    code: 'CONFIG_INVALID',
    message: /^KILN_ENTRIES_DIR cannot be read: ENOENT/,
  });
});
