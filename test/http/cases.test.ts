import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { compress, installCompressors } from '../context/compress.ts';
import { extractImage, listTree } from '../context/image.ts';
import {
  fifo,
  file,
  folder,
  gnuLong,
  hardlink,
  oldSparse,
  pax,
  type RawMember,
  symlink,
  tar,
} from '../context/tar.ts';
import { zip } from '../context/zip.ts';
import { assertProblem, curl, serve } from './harness.ts';

await installCompressors();

/**
 * What docker's users sent and were refused once, or what docker takes and another reader would not: each through the door, as
 * curl sends it.
 */
type Case = {
  readonly what: string;
  readonly upload: Buffer;
  readonly fields?: readonly string[];
  /** `%P` of `find`, and of a link its target. */
  readonly tree: readonly string[];
  readonly warnings?: readonly string[];
};

const dockerfile = file('Dockerfile', 'FROM busybox\nCOPY . /ctx\n');
const text = (content: string | Buffer): RawMember => file('Dockerfile', content);
const hole = oldSparse('a.img', { realSize: 8 << 20, map: [4096, 4], data: 'data' });

const cases: readonly Case[] = [
  {
    what: 'append: a newer version of a file behind the older one',
    upload: tar(folder('./'), folder('./src/'), file('./src/a', '1'), dockerfile, file('./src/a', '22')),
    tree: ['Dockerfile', 'src', 'src/a'],
    warnings: ["Of several entries with one name the last counts: './src/a'."],
  },
  {
    what: 'dup-entries: the same path twice',
    upload: tar(text('FROM scratch\n'), file('a', 'one'), file('a', 'two'), dockerfile),
    tree: ['Dockerfile', 'a'],
    warnings: ["Of several entries with one name the last counts: 'a' and 1 more."],
  },
  {
    what: 'backslash: a zip of an old Windows tool',
    upload: zip([
      { name: 'Dockerfile', content: 'FROM scratch\n' },
      { name: 'sub\\a.txt' },
      { name: 'sub\\deep\\b.txt' },
    ]),
    tree: ['Dockerfile', 'sub', 'sub/a.txt', 'sub/deep', 'sub/deep/b.txt'],
    warnings: ["Backslashes in names were taken for slashes: 'sub\\\\a.txt' and 1 more."],
  },
  {
    what: 'df-lower: a lower-case dockerfile alone',
    upload: tar(file('dockerfile', 'FROM busybox\n')),
    tree: ['dockerfile'],
  },
  {
    what: 'fifo: a FIFO and a device beside the files',
    upload: tar(dockerfile, fifo('pipe'), { name: 'null', type: '3' }, file('a')),
    tree: ['Dockerfile', 'a'],
    warnings: ["Devices, FIFOs and sockets were left out, since no step could use them: 'pipe' and 1 more."],
  },
  ...(await Promise.all(
    ['xz', 'bzip2', 'zstd', 'gzip'].map(async (tool) => ({
      what: `fmt-tar.xz: a tar that ${tool} compressed`,
      upload: await compress(tool, tar(folder('./'), dockerfile, folder('./sub/'), file('./sub/a.txt'))),
      tree: ['Dockerfile', 'sub', 'sub/a.txt'],
    })),
  )),
  {
    what: 'github-zip: context-dir names the one top folder',
    upload: zip([
      { name: 'proj-main/' },
      { name: 'proj-main/Dockerfile', content: 'FROM scratch\n' },
      { name: 'proj-main/sub/x' },
    ]),
    fields: ['context-dir=proj-main'],
    tree: ['proj-main', 'proj-main/Dockerfile', 'proj-main/sub', 'proj-main/sub/x'],
  },
  {
    what: 'hardlinked-symlink: a tree of cp -al',
    upload: tar(
      dockerfile,
      folder('./one/'),
      file('./one/f'),
      symlink('./one/l', 'f'),
      hardlink('./two/f', './one/f'),
      hardlink('./two/l', './one/l'),
    ),
    tree: ['Dockerfile', 'one', 'one/f', 'one/l f', 'two', 'two/f', 'two/l f'],
  },
  {
    what: 'icon-cr: a folder of macOS with an icon, which .dockerignore names',
    upload: tar(dockerfile, file('.dockerignore', 'Icon?\n'), file('Icon\r', '')),
    tree: ['.dockerignore', 'Dockerfile', 'Icon\r'],
  },
  {
    what: 'latin1-df: a comment in Latin-1',
    upload: tar(text(Buffer.from('# caf\xe9 cr\xe8me\nFROM busybox\n', 'latin1'))),
    tree: ['Dockerfile'],
  },
  {
    what: 'leading-slash: absolute names',
    upload: tar(file('/Dockerfile', 'FROM busybox\n'), file('/src/a.txt')),
    tree: ['Dockerfile', 'src', 'src/a.txt'],
    warnings: ["Leading slashes were taken off names: '/Dockerfile' and 1 more."],
  },
  {
    what: 'macos: a zip of Finder',
    upload: zip([
      { name: 'Dockerfile', content: 'FROM busybox\n' },
      { name: '__MACOSX/' },
      { name: '__MACOSX/._Dockerfile' },
      { name: 'sub/' },
      { name: 'sub/a.txt' },
      { name: '__MACOSX/sub/._a.txt' },
      { name: '.DS_Store' },
    ]),
    tree: ['.DS_Store', 'Dockerfile', 'sub', 'sub/a.txt'],
    warnings: ["What macOS adds to a zip for itself was left out: '__MACOSX/' and 2 more."],
  },
  { what: 'sparse: a file with holes', upload: tar(dockerfile, hole), tree: ['Dockerfile', 'a.img'] },
  ...[
    ['syntax-line: a line that names a frontend', '# syntax=docker/dockerfile:1\nFROM busybox\n'],
    [
      'arg-env-proxy: an argument that is a proxy',
      'FROM busybox\nARG http_proxy\nENV http_proxy=$http_proxy\n',
    ],
    ['a byte order mark and CRLF', '\ufeffFROM busybox\r\nRUN echo a \\\r\n  b\r\n'],
    ['the escape directive of Windows', '# escape=`\r\nFROM busybox\r\nRUN echo a `\r\n  b\r\n'],
    [
      'a syntax line before the escape directive, in CRLF',
      '#syntax = docker/dockerfile:1\r\n# escape=`\r\nFROM x\r\n',
    ],
    ['a heredoc in CRLF', 'FROM busybox\r\nRUN <<EOF\r\necho a\r\nEOF\r\n'],
    ['two heredocs, one with tabs', 'FROM busybox\nCOPY <<-A <<"B" /\n\ta\n\tA\n$b\nB\n'],
    ['a check directive', '# check=skip=all;error=true\nFROM busybox\n'],
    ['a shebang', '#!/usr/bin/env docker\n# syntax=docker/dockerfile:1\nFROM busybox\n'],
    ['no newline at its end', 'FROM busybox'],
    ['carriage returns alone', 'FROM busybox\rRUN true\r'],
    ['other spaces than ASCII has', 'FROM busybox\nRUN echo\u00a0a\u2028b\n'],
  ].map(([what = '', content = '']) => ({
    what: `a Dockerfile with ${what}`,
    upload: tar(text(content)),
    tree: ['Dockerfile'],
  })),
  {
    what: 'a .dockerignore with a byte order mark, CRLF, comments and exceptions',
    upload: tar(dockerfile, file('.dockerignore', '\ufeff# all\r\n\r\n*\r\n!Dockerfile\r\n!a/**/[b-d]?\r\n')),
    tree: ['.dockerignore', 'Dockerfile'],
  },
  {
    what: 'long names in both dialects, owners and times of long ago',
    upload: tar(
      dockerfile,
      gnuLong('L', `d/${'n'.repeat(150)}`),
      file('short'),
      pax({ path: `e/${'p'.repeat(200)}`, mtime: '-1.5', uid: '4000000' }),
      file('short'),
    ),
    tree: ['Dockerfile', 'd', `d/${'n'.repeat(150)}`, 'e', `e/${'p'.repeat(200)}`],
  },
];

for (const { what, upload, fields = [], tree, warnings = [] } of cases) {
  test(`${what}: is taken as docker takes it (simulated builds)`, async () => {
    await using harness = await serve();
    const form = [...fields, 'context=@-'].flatMap((field) => ['-F', field]);
    const { exit, body } = await curl(['--fail-with-body', ...form, `${harness.url}/build`], upload);
    assert.equal(exit, 0, body);
    const [started] = harness.builds.started;
    assert.deepEqual(started?.context?.summary?.warnings, warnings);
    const [name = ''] = await harness.staged();
    await using image = await extractImage(join(harness.staging, name));
    const found = await listTree(image.directory, '%P %l');
    assert.deepEqual(
      found.map((line) => line.trimEnd()).toSorted(),
      tree.map((line) => line.trimEnd()).toSorted(),
    );
  });
}

test('github-zip: without context-dir the answer names the folder (simulated builds)', async () => {
  await using harness = await serve();
  const upload = zip([{ name: 'proj-main/Dockerfile', content: 'FROM scratch\n' }]);
  const answer = await harness.api.post('/build').attach('context', upload, 'main.zip');
  const { detail } = assertProblem(answer, 422, 'DOCKERFILE_MISSING');
  assert.match(String(detail), /'proj-main' has one: .*context-dir=proj-main/);
});

test('a file that comes twice has the later content, and holes are zeros (simulated builds)', async () => {
  await using harness = await serve();
  const upload = tar(file('a', 'older'), dockerfile, hole, file('./a', 'new'));
  await harness.api.post('/build').attach('context', upload, 'context.tar').expect(200);
  const [name = ''] = await harness.staged();
  await using image = await extractImage(join(harness.staging, name));
  assert.equal(await readFile(join(image.directory, 'a'), 'utf8'), 'new');
  const sparse = await readFile(join(image.directory, 'a.img'));
  assert.deepEqual([sparse.length, sparse.toString('latin1', 4096, 4100)], [8 << 20, 'data']);
  assert.ok(sparse.fill(0, 4096, 4100).every((byte) => byte === 0));
});
