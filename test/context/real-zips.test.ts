import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';
import { compress } from './compress.ts';
import { extractImage, listTree } from './image.ts';
import { refuseWith, Staging } from './staging.ts';
import { zip } from './zip.ts';

const run = promisify(execFile);
const recordBytes = 10_240;

await installTools([
  { find: 'zip', package: 'zip' },
  { find: '7z', package: 'p7zip-full' },
  { find: 'bsdtar', package: 'libarchive-tools' },
]);

async function makeTree(): Promise<AsyncDisposable & { readonly path: string; readonly zip: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-zip-'));
  const path = join(folder, 'tree');
  await mkdir(join(path, 'sub/empty'), { recursive: true });
  await writeFile(join(path, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
  await writeFile(join(path, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(join(path, 'sub/naïve 日本'), 'utf-8');
  await writeFile(join(path, 'sub/Icon\r'), 'icon');
  await writeFile(join(path, 'big'), Buffer.alloc(300_000, 'big'));
  await writeFile(join(path, 'nothing'), '');
  await symlink('../outside', join(path, 'link'));
  return {
    path,
    zip: join(folder, 'context.zip'),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

/** A tool, told in a shell that stands in the tree to make the file $zip. */
const commands: readonly string[] = [
  'zip -qry "$zip" .',
  'zip -qry0 "$zip" .',
  'zip -qryX "$zip" .',
  'zip -qryD "$zip" . && zip -qy "$zip" sub/empty',
  'zip -qry -fz "$zip" .',
  'LC_ALL=C.UTF-8 zip -qry -UN=UTF8 "$zip" .',
  'echo a comment | zip -qryz "$zip" .',
  // What is replaced in a zip, or taken out of it, leaves nothing behind.
  'zip -qry "$zip" . && touch more && zip -q "$zip" more && zip -qy "$zip" big link && zip -qd "$zip" more; rm more',
  '7z a -bso0 -tzip -snl "$zip" .',
  '7z a -bso0 -tzip -snl -mx0 -mcu=on "$zip" .',
  '7z a -bso0 -tzip -snl "$zip" . && 7z a -bso0 -tzip "$zip" big && 7z d -bso0 -tzip "$zip" big && 7z a -bso0 -tzip "$zip" big',
  'bsdtar -a -cf "$zip" .',
  'bsdtar --format=zip --options=zip:compression=store -cf "$zip" .',
  'bsdtar --format=zip --options=zip:zip64 -cf "$zip" .',
  'bsdtar --format=zip -cf - . | cat >"$zip"',
  'git init -q && git add . && git -c user.name=t -c user.email=t@t commit -qm all && git archive --format=zip -o "$zip" HEAD; rm -rf .git; mkdir -p sub/empty; zip -qy "$zip" sub/empty',
];

for (const command of commands) {
  test(`what ${command} makes is accepted, and becomes the same tree`, async () => {
    await using tree = await makeTree();
    await using staging = await Staging.create();
    await run('sh', ['-ec', command], { cwd: tree.path, env: { ...process.env, zip: tree.zip } });
    await using staged = await staging.stageSealed(await readFile(tree.zip));
    await using image = await extractImage(staged.path);
    const fields = '%P %y %l';
    assert.deepEqual(await listTree(image.directory, fields), await listTree(tree.path, fields));
    await run('diff', ['--recursive', '--no-dereference', tree.path, image.directory]);
    assert.match(await readFile(join(image.directory, 'run.sh'), 'utf8'), /^#!/);
    assert.deepEqual(
      await listTree(image.directory, '%P %m').then((list) => list.includes('run.sh 755')),
      true,
    );
  });
}

test('zeros behind a zip that fill a record are padding; fewer, more, and anything else are not', async () => {
  const made = zip([{ name: 'a' }], { comment: Buffer.from('comment') });
  const padded = Buffer.concat([made, Buffer.alloc(recordBytes - made.length)]);
  await using staging = await Staging.create();
  await using staged = await staging.stage(padded);
  assert.equal(staged.summary.entries, 1);
  const other = Buffer.from(padded);
  other.write('x', padded.length - 1);
  for (const upload of [
    padded.subarray(0, -1),
    other,
    Buffer.concat([padded, Buffer.alloc(2 * recordBytes)]),
  ])
    await refuseWith(['ARCHIVE_AMBIGUOUS', 'ARCHIVE_TRUNCATED'], upload);
});

for (const [format, name] of [
  ['cpio', 'cpio'],
  ['newc', 'cpio'],
  ['7zip', '7z'],
  ['xar', 'xar'],
  ['ar', 'ar'],
] as const) {
  test(`${format} is refused by its name`, async () => {
    await using tree = await makeTree();
    await run('bsdtar', [`--format=${format}`, '-cf', tree.zip, '-C', tree.path, 'Dockerfile']);
    const { message } = await refuseWith('ARCHIVE_FORMAT', await readFile(tree.zip));
    assert.match(message, new RegExp(`^The context is ${name}; send a zip, or a tar`));
  });
}

for (const [tool, name] of [
  ['lz4 -c', 'lz4'],
  ['lz4 -l -c', 'lz4'],
  ['lzip -c', 'lzip'],
  ['compress -cf', String.raw`compress \(\.Z\)`],
  ['xz --format=lzma', 'lzma'],
] as const) {
  test(`what ${tool} makes is refused by its name`, async () => {
    await installTools([
      { find: 'lz4', package: 'lz4' },
      { find: 'lzip', package: 'lzip' },
      { find: 'compress', package: 'ncompress' },
      { find: 'xz', package: 'xz-utils' },
    ]);
    const { message } = await refuseWith('ARCHIVE_FORMAT', await compress(tool));
    assert.match(message, new RegExp(`^The context is ${name}; send a zip, or a tar`));
  });
}
