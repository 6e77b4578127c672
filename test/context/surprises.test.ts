import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { extractImage, listTree } from './image.ts';
import { refuseWith, Staging } from './staging.ts';
import { fifo, file, folder, hardlink, pax, type RawMember, symlink, tar } from './tar.ts';
import { type ZipItem, zip } from './zip.ts';

type Case = {
  readonly what: string;
  readonly upload: Buffer;
  /** `%P %M` of `find`. */
  readonly tree: readonly string[];
  readonly warnings: readonly string[];
};

const mode = (name: string, bits: string): RawMember => ({ ...file(name), mode: `000${bits}\0` });
const noExtras = 'Devices, FIFOs and sockets were left out, since no step could use them';
const again = 'Of several entries with one name the last counts';

const cases: readonly Case[] = [
  {
    what: 'row 2: leading slashes are taken off',
    upload: tar(
      folder('/'),
      file('/a'),
      file('//b/c'),
      { ...file('d'), prefix: '/etc' },
      hardlink('/h', '/a'),
    ),
    tree: [
      'a -rw-r--r--',
      'b drwxr-xr-x',
      'b/c -rw-r--r--',
      'etc drwxr-xr-x',
      'etc/d -rw-r--r--',
      'h -rw-r--r--',
    ],
    warnings: ["Leading slashes were taken off names: '/' and 4 more."],
  },
  {
    what: 'row 9: devices, FIFOs and hard links to them are left out',
    upload: tar(
      { name: 'tty', type: '3' },
      { name: 'sda', type: '4' },
      fifo('d/fifo'),
      hardlink('h', 'tty'),
      file('a'),
    ),
    tree: ['a -rw-r--r--', 'd drwxr-xr-x'],
    warnings: [`${noExtras}: 'tty' and 3 more.`],
  },
  {
    what: 'row 11: the last of several files counts',
    upload: tar(mode('a', '0600'), file('b'), file('./a'), file('d//c'), mode('d/c', '0755')),
    tree: ['a -rw-r--r--', 'b -rw-r--r--', 'd drwxr-xr-x', 'd/c -rwxr-xr-x'],
    warnings: [`${again}: './a' and 1 more.`],
  },
  {
    what: 'row 11: a folder that comes again keeps what is in it, with its last attributes',
    upload: tar(
      { ...folder('d/'), mode: '0000700\0' },
      file('d/a'),
      pax({ 'SCHILY.xattr.user.x': 'v'.repeat(500) }),
      { ...folder('d'), mode: '0000711\0' },
      file('d/b'),
      folder('./'),
      folder('.'),
    ),
    tree: ['d drwx--x--x', 'd/a -rw-r--r--', 'd/b -rw-r--r--'],
    warnings: [`${again}: 'd' and 1 more.`],
  },
  {
    what: 'row 11: a link that comes again',
    upload: tar(symlink('l', 'a'), symlink('l', 'b')),
    tree: ['l lrwxrwxrwx'],
    warnings: [`${again}: 'l'.`],
  },
  {
    what: 'row 37a: a zip without Unix modes makes all that is in it executable, as docker on Windows does',
    upload: zip([
      { name: 'run.sh', content: 'x' },
      { name: 'd/' },
      { name: 'none', mode: 0 },
      { name: 'rw', mode: 0o100600 },
    ]),
    tree: ['d drwxr-xr-x', 'none -rwxr-xr-x', 'run.sh -rwxr-xr-x', 'rw -rw-------'],
    warnings: [],
  },
  {
    what: 'row 37b: what macOS adds to a zip is left out',
    upload: zip([
      { name: 'a' },
      { name: '__MACOSX/' },
      { name: '__MACOSX/._a', content: 'x' },
      { name: 'd/__MACOSX' },
      { name: '._b' },
    ]),
    tree: ['._b -rwxr-xr-x', 'a -rwxr-xr-x', 'd drwxr-xr-x', 'd/__MACOSX -rwxr-xr-x'],
    warnings: ["What macOS adds to a zip for itself was left out: '__MACOSX/' and 1 more."],
  },
  {
    what: 'row 2b: backslashes of a zip are folders where no name has a slash',
    upload: zip([{ name: 'a' }, { name: 'b\\c\\d', content: 'x' }, { name: 'e\\' }]),
    tree: ['a -rwxr-xr-x', 'b drwxr-xr-x', 'b/c drwxr-xr-x', 'b/c/d -rwxr-xr-x', 'e drwxr-xr-x'],
    warnings: ["Backslashes in names were taken for slashes: 'b\\\\c\\\\d' and 1 more."],
  },
  {
    what: 'row 37: names of a zip that are UTF-8 without being marked',
    upload: zip([{ name: 'café', flags: 0 }, { name: 'a', flags: 0 }, { name: 'ü' }]),
    tree: ['a -rwxr-xr-x', 'café -rwxr-xr-x', 'ü -rwxr-xr-x'],
    warnings: ["Names that are not marked as UTF-8 were taken for it: 'café'."],
  },
  {
    what: 'row 9: FIFOs, sockets and devices of a zip',
    upload: zip(
      [0o010644, 0o140644, 0o020644, 0o060644]
        .map((bits): ZipItem => ({ name: `x${bits}`, mode: bits, content: 'x' }))
        .concat({ name: 'a' }),
    ),
    tree: ['a -rwxr-xr-x'],
    warnings: [`${noExtras}: 'x${0o010644}' and 3 more.`],
  },
  {
    what: 'a file capability, which BuildKit does not keep',
    upload: tar(
      pax({ 'SCHILY.xattr.security.capability': 'x', 'SCHILY.xattr.user.a': 'x' }),
      file('ping'),
      pax({ 'SCHILY.xattr.user.a': 'x' }),
      file('a'),
    ),
    tree: ['a -rw-r--r--', 'ping -rw-r--r--'],
    warnings: [
      "BuildKit does not keep file capabilities (security.capability) of a context; set them in a RUN step: 'ping'.",
    ],
  },
  {
    what: 'row 17: control characters in names, shown with escapes',
    upload: tar(file('Icon\r'), file('\x1b[31m'), file('Icon\r')),
    tree: ['Icon\r -rw-r--r--', '\x1b[31m -rw-r--r--'],
    warnings: [`${again}: 'Icon\\r'.`],
  },
  {
    what: 'row 17: control characters in the names of a zip, which Finder makes of a folder with an icon',
    upload: zip([{ name: 'd/Icon\r' }, { name: '\x1b[31m' }, { name: '\u009b' }]),
    tree: ['d drwxr-xr-x', 'd/Icon\r -rwxr-xr-x', '\x1b[31m -rwxr-xr-x', '\u009b -rwxr-xr-x'],
    warnings: [],
  },
];

for (const { what, upload, tree, warnings } of cases) {
  test(`${what}`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stageSealed(upload);
    assert.deepEqual(staged.summary.warnings, warnings);
    await using image = await extractImage(staged.path);
    assert.deepEqual((await listTree(image.directory, '%P %M')).toSorted(), [...tree].toSorted());
  });
}

test('row 11: contents are those of the last, and a hard link made before keeps the first', async () => {
  await using staging = await Staging.create();
  const first = file('a', '1'.repeat(5000));
  await using staged = await staging.stageSealed(
    tar(
      first,
      hardlink('before', 'a'),
      file('a', '2'.repeat(9000)),
      hardlink('after', 'a'),
      hardlink('a', 'a'),
      file('empty', 'x'),
      file('empty', ''),
    ),
  );
  await using image = await extractImage(staged.path);
  const read = async (name: string): Promise<string> => readFile(join(image.directory, name), 'utf8');
  assert.deepEqual(await Promise.all(['a', 'before', 'after', 'empty'].map(read)), [
    '2'.repeat(9000),
    '1'.repeat(5000),
    '2'.repeat(9000),
    '',
  ]);
});

test('row 11: the older content counts for the limits', async () => {
  const twice = tar(file('a', 'x'.repeat(6000)), file('a', 'x'.repeat(6000)));
  await refuseWith('ARCHIVE_TOO_LARGE', twice, { maxBytes: 12_000 });
  await refuseWith('ARCHIVE_TOO_MANY_ENTRIES', twice, { maxEntries: 1 });
});

test('row 7a: a hard link to a symbolic link is that link', async () => {
  await using staging = await Staging.create();
  await using staged = await staging.stageSealed(tar(symlink('a', 'target'), hardlink('d/b', 'a')));
  await using image = await extractImage(staged.path);
  assert.deepEqual(await listTree(image.directory, '%P %l'), ['a target', 'd ', 'd/b target']);
});
