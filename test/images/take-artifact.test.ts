import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { pack } from 'tar-stream';
import { folderTar } from '../../src/images/folder-tar.ts';
import { takeFiles, takeLayout } from '../../src/images/take-artifact.ts';

const { signal } = new AbortController();
type Member = Parameters<ReturnType<typeof pack>['entry']>[0];

async function withTar(
  members: readonly (readonly [header: Member, content?: string])[],
  work: (tar: string, directory: string) => Promise<void>,
): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'kiln-artifact-'));
  try {
    const archive = pack();
    for (const [header, content] of members) archive.entry(header, content ?? '');
    archive.finalize();
    await writeFile(join(parent, 'tar'), await buffer(archive));
    await work(join(parent, 'tar'), join(parent, 'out'));
  } finally {
    await rm(parent, { recursive: true });
  }
}

const names = ['kernel', 'disk.qcow2'];

test('the files that are asked for are taken, and nothing else of folders', () =>
  withTar(
    [[{ name: './', type: 'directory' }], [{ name: './kernel' }, 'k'], [{ name: 'disk.qcow2' }, 'd']],
    async (tar, directory) => {
      await takeFiles(tar, { directory, names }, signal);
      assert.deepEqual((await readdir(directory)).toSorted(), ['disk.qcow2', 'kernel']);
      assert.equal(await readFile(join(directory, 'disk.qcow2'), 'utf8'), 'd');
    },
  ));

for (const [title, members, message] of [
  ['has too little', [[{ name: 'kernel' }, 'k']], /has no file disk\.qcow2/],
  ['leads outside', [[{ name: '../kernel' }, 'k']], /holds '\.\.\/kernel', which was not asked for/],
  ['has a link', [[{ name: 'kernel', type: 'symlink', linkname: '/etc/passwd' }]], /holds 'kernel'/],
  [
    'has a file twice',
    [
      [{ name: 'kernel' }, 'k'],
      [{ name: './kernel' }, 'other'],
    ],
    /holds a file twice/,
  ],
] as const) {
  test(`a tar out of a VM that ${title} is refused`, () =>
    withTar(members, async (tar, directory) => {
      await assert.rejects(takeFiles(tar, { directory, names }, signal), {
        code: 'ARTIFACT_INVALID',
        message,
      });
    }));
}

test('what is no tar at all is refused', () =>
  withTar([], async (tar, directory) => {
    await writeFile(tar, 'x'.repeat(2000));
    await assert.rejects(takeFiles(tar, { directory, names }, signal), { code: 'ARTIFACT_INVALID' });
  }));

test('a layout is of one image that it holds, and its blobs are what their names say', async () => {
  const blob = createHash('sha256').update('blob').digest('hex');
  const indexOf = (...digests: string[]) =>
    JSON.stringify({ manifests: digests.map((digest) => ({ digest })) });
  const layout = (content: string, name = blob, index = indexOf(`sha256:${blob}`)) =>
    [
      [{ name: 'blobs/', type: 'directory' }],
      [{ name: `blobs/sha256/${name}` }, content],
      [{ name: 'index.json' }, index],
      [{ name: 'oci-layout' }, '{}'],
    ] as const;
  await withTar(layout('blob'), async (tar, directory) => {
    await takeLayout(tar, directory, signal);
    assert.equal(await readFile(join(directory, 'blobs/sha256', blob), 'utf8'), 'blob');
  });
  const indexes = [
    ...['no JSON', '{}', indexOf(), indexOf(`sha256:${blob}`, `sha256:${blob}`)],
    // It would become part of a path.
    indexOf('../../../../../etc:passwd'),
    indexOf(`sha256:${'0'.repeat(64)}`),
  ];
  const refused = [
    ...[layout('other'), layout('blob', '../../../etc/x')],
    ...indexes.map((index) => layout('blob', blob, index)),
  ];
  for (const members of refused)
    await withTar(members, async (tar, directory) => {
      await assert.rejects(takeLayout(tar, directory, signal), { code: 'ARTIFACT_INVALID' });
    });
});

test('a folder makes the same tar whenever its files were written', async () => {
  const parent = await mkdtemp(join(tmpdir(), 'kiln-folder-'));
  try {
    const read = async (): Promise<Buffer> => Buffer.concat(await Array.fromAsync(folderTar(parent, signal)));
    await writeFile(join(parent, 'b'), 'b');
    await symlink('b', join(parent, 'a'));
    const first = await read();
    await rm(join(parent, 'b'));
    await writeFile(join(parent, 'b'), 'b');
    assert.ok(first.equals(await read()));
    await assert.rejects(Array.fromAsync(folderTar(join(parent, 'nowhere'), signal)), { code: 'INFRA' });
  } finally {
    await rm(parent, { recursive: true });
  }
});
