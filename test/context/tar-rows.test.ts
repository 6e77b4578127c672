import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/model/error.ts';
import { accept, type Limits, refuseWith } from './staging.ts';
import { fifo, file, folder, gnuLong, hardlink, pax, raw, symlink, tar, tarEnd, withXattr } from './tar.ts';

/** Rows of the table of bad inputs, by their number; several cases where a row names several. */
const refused: readonly (readonly [row: string, code: ErrorCode, archive: Buffer, limits?: Limits])[] = [
  ['1: ../evil', 'ENTRY_ESCAPES', tar(file('../evil'))],
  ['1: the parent folder itself', 'ENTRY_ESCAPES', tar(folder('../'))],
  ['3: a/../../evil', 'ENTRY_ESCAPES', tar(file('a/../../evil'))],
  ['3: a/../b, which normalises inside', 'ENTRY_ESCAPES', tar(file('a/../b'))],
  ['4: through a link to /tmp', 'ENTRY_THROUGH_LINK', tar(symlink('d', '/tmp'), file('d/evil'))],
  ['5: through a link to ../..', 'ENTRY_THROUGH_LINK', tar(symlink('d', '../..'), file('d/evil'))],
  ['5: through a link within', 'ENTRY_THROUGH_LINK', tar(folder('a/'), symlink('d', 'a'), file('d/b/c'))],
  ['7: to /etc/passwd', 'HARDLINK_TARGET', tar(hardlink('h', '/etc/passwd'))],
  ['7: to ../x', 'HARDLINK_TARGET', tar(hardlink('h', '../x'))],
  ['7: through a link', 'HARDLINK_TARGET', tar(symlink('d', '/etc'), hardlink('h', 'd/passwd'))],
  ['7: to a later member', 'HARDLINK_TARGET', tar(hardlink('h', 'a'), file('a'))],
  ['7: to itself', 'HARDLINK_TARGET', tar(hardlink('h', 'h'))],
  ['7: to a folder', 'HARDLINK_TARGET', tar(folder('a/'), hardlink('h', 'a'))],
  [
    '8: a hard link to a link in between',
    'ENTRY_THROUGH_LINK',
    tar(symlink('a', '..'), hardlink('b', 'a'), file('b/x')),
  ],
  [
    '8: three steps',
    'ENTRY_THROUGH_LINK',
    tar(folder('a/'), symlink('a/b', '..'), symlink('c', 'a/b/..'), symlink('d', 'c'), file('d/evil')),
  ],
  ...(['7', 's', 'V', 'N', '\x01'] as const).map(
    (type) => [`9: type ${JSON.stringify(type)}`, 'ENTRY_TYPE', tar({ name: 'x', type })] as const,
  ),
  ['11b: a link in place of a file', 'ENTRY_CONFLICT', tar(file('a'), symlink('a', '/etc'))],
  ['11b: a file in place of a link', 'ENTRY_CONFLICT', tar(symlink('a', '/etc'), file('a'))],
  ['11b: a folder in place of a file', 'ENTRY_CONFLICT', tar(file('a'), folder('a/'))],
  ['11b: a file in place of a folder', 'ENTRY_CONFLICT', tar(folder('a/'), file('a'))],
  ['11b: a folder in place of a link', 'ENTRY_CONFLICT', tar(symlink('a', '.'), folder('a/'))],
  [
    '11b: a hard link to a link in place of a file',
    'ENTRY_CONFLICT',
    tar(symlink('l', '.'), file('a'), hardlink('a', 'l')),
  ],
  ['11b: a FIFO in place of a file', 'ENTRY_CONFLICT', tar(file('a'), fifo('a'))],
  ['11b: below a FIFO', 'ENTRY_CONFLICT', tar(fifo('a'), file('a/b'))],
  ['2: nothing but slashes, as a file', 'ARCHIVE_AMBIGUOUS', tar(file('//'))],
  ['2: slashes before ..', 'ENTRY_ESCAPES', tar(file('/../evil'))],
  ['13: below a file', 'ENTRY_CONFLICT', tar(file('a'), file('a/b'))],
  ['13: a file in place of a folder', 'ENTRY_CONFLICT', tar(file('a/b'), file('a'))],
  ['13: a link in place of a folder', 'ENTRY_CONFLICT', tar(file('a/b'), symlink('a', '/tmp'))],
  [
    '14: a path of 4097 bytes',
    'ENTRY_NAME_TOO_LONG',
    tar(gnuLong('L', `${'abcdefg/'.repeat(512)}x`), file('x')),
  ],
  ['14: a part of 256 bytes', 'ENTRY_NAME_TOO_LONG', tar(pax({ path: 'a'.repeat(256) }), file('x'))],
  [
    '14: a part of 256 bytes in 128 characters',
    'ENTRY_NAME_TOO_LONG',
    tar(pax({ path: 'ä'.repeat(128) }), file('x')),
  ],
  ['15: 256 folders deep', 'ENTRY_TOO_DEEP', tar(pax({ path: `${'a/'.repeat(255)}b` }), file('x'))],
  ['16: NUL in a PAX path', 'ENTRY_NAME', tar(pax({ path: 'a\0b' }), file('x'))],
  ['16: NUL in the name field', 'ENTRY_NAME', tar(file('a\0b'))],
  ['16: empty', 'ENTRY_NAME', tar(file(''))],
  ['16: empty by PAX', 'ENTRY_NAME', tar(pax({ path: '' }), file('x'))],
  ['16: the root as a file', 'ENTRY_NAME', tar(file('.'))],
  ['16: a link target of 4096 bytes', 'ENTRY_NAME', tar(gnuLong('K', 't'.repeat(4096)), symlink('l', 'x'))],
  ['18: Latin-1', 'ENTRY_NAME_ENCODING', tar(file(Buffer.from('caf\xe9', 'latin1')))],
  ['18: a surrogate', 'ENTRY_NAME_ENCODING', tar(file(Buffer.from('eda080', 'hex')))],
  [
    '18: the target of a link',
    'ENTRY_NAME_ENCODING',
    tar({ name: 'l', type: '2', target: Buffer.from([0xff]) }),
  ],
  ['21: negative octal', 'ARCHIVE_CORRUPT', tar({ name: 'x', size: '-0000000001\0' })],
  [
    '21: base-256',
    'ARCHIVE_CORRUPT',
    tar({ name: 'x', size: Buffer.from('800000000000000000000001', 'hex') }),
  ],
  ['21: negative base-256', 'ARCHIVE_CORRUPT', tar({ name: 'x', size: Buffer.alloc(12, 0xff) })],
  ['21: PAX size above 2^53', 'ARCHIVE_CORRUPT', tar(pax({ size: '9007199254740993' }), file('x'))],
  ['21: negative PAX size', 'ARCHIVE_CORRUPT', tar(pax({ size: '-1' }), file('x'))],
  ['22: a PAX size of nothing', 'ARCHIVE_CORRUPT', tar(pax({ size: '' }), file('x'))],
  ['22: a PAX target of nothing', 'ENTRY_NAME', tar(pax({ linkpath: '' }), symlink('x', 'y'))],
  ['22: PAX size differs', 'ARCHIVE_AMBIGUOUS', tar(pax({ size: '512' }), file('x'))],
  ['22: x before L', 'ARCHIVE_AMBIGUOUS', tar(pax({ mtime: '1' }), gnuLong('L', 'long'), file('x'))],
  ['22: x before K', 'ARCHIVE_AMBIGUOUS', tar(pax({ mtime: '1' }), gnuLong('K', 'long'), symlink('x', 'y'))],
  ['22: L before x', 'ARCHIVE_AMBIGUOUS', tar(gnuLong('L', 'long'), pax({ mtime: '1' }), file('x'))],
  ['22: two x', 'ARCHIVE_AMBIGUOUS', tar(pax({ path: 'a' }), pax({ path: 'b' }), file('x'))],
  ['22: two L', 'ARCHIVE_AMBIGUOUS', tar(gnuLong('L', 'a'), gnuLong('L', 'b'), file('x'))],
  [
    '22: g between x and its member',
    'ARCHIVE_AMBIGUOUS',
    tar(pax({ path: 'a' }), pax({ comment: 'c' }, 'g'), file('x')),
  ],
  ['22: a path for all members', 'ARCHIVE_AMBIGUOUS', tar(pax({ path: 'a' }, 'g'), file('x'))],
  ['22: one PAX key twice', 'ARCHIVE_AMBIGUOUS', tar(twoPaths(), file('x'))],
  ['22: a long name after its NUL', 'ARCHIVE_AMBIGUOUS', tar(gnuLong('L', 'a\0b'), file('x'))],
  ['22: a folder with content', 'ARCHIVE_AMBIGUOUS', tar({ name: 'd/', type: '5', content: 'x' })],
  [
    '22: a hard link with content',
    'ARCHIVE_AMBIGUOUS',
    tar(file('a'), { name: 'h', type: '1', target: 'a', content: 'x' }),
  ],
  ['22: a file with the name of a folder', 'ARCHIVE_AMBIGUOUS', tar({ name: 'd/', type: '0' })],
  ['22: a prefix in a GNU header', 'ARCHIVE_AMBIGUOUS', tar({ name: 'x', prefix: 'p', magic: 'ustar  \0' })],
  ['22: a prefix in a v7 header', 'ARCHIVE_AMBIGUOUS', tar({ name: 'x', prefix: 'p', magic: '' })],
  [
    '23: PAX header over 1 MiB',
    'ARCHIVE_HEADER_TOO_LARGE',
    tar(pax({ comment: 'c'.repeat(1024 * 1024) }), file('x')),
  ],
  [
    '23: long name over 1 MiB',
    'ARCHIVE_HEADER_TOO_LARGE',
    tar(gnuLong('L', 'n'.repeat(1024 * 1024)), file('x')),
  ],
  ['23: g header of 4 GiB', 'ARCHIVE_HEADER_TOO_LARGE', tar({ name: 'g', type: 'g', size: '40000000000\0' })],
  ['24: wrong checksum', 'ARCHIVE_CORRUPT', withByte(tar(file('a'), file('b')), 1024, 0x63)],
  ['24: a header of an unknown kind', 'ARCHIVE_CORRUPT', tar({ name: 'x', magic: 'ustar\x0099' })],
  ['24: a mode that is no number', 'ARCHIVE_CORRUPT', tar({ name: 'x', mode: 'rw-r--r-' })],
  [
    '24: a PAX record with a wrong length',
    'ARCHIVE_CORRUPT',
    tar(raw({ name: 'p', type: 'x', content: '99 path=a\n' }), file('x')),
  ],
  ['24: an end after a PAX header', 'ARCHIVE_CORRUPT', tar(pax({ path: 'a' }))],
  ['24: a lone block of zeros', 'ARCHIVE_CORRUPT', tar(file('a'), Buffer.alloc(512), file('b'))],
  ['25: cut in the first header', 'ARCHIVE_TRUNCATED', tar(file('a')).subarray(0, 300)],
  ['25: cut in a header', 'ARCHIVE_TRUNCATED', tar(file('a'), file('b')).subarray(0, 1024 + 100)],
  ['25: cut in data', 'ARCHIVE_TRUNCATED', tar(file('a', 'x'.repeat(4000))).subarray(0, 2000)],
  ['25: cut in padding', 'ARCHIVE_TRUNCATED', tar(file('a')).subarray(0, 600)],
  ['25: cut in a PAX header', 'ARCHIVE_TRUNCATED', tar(pax({ path: 'a' }), file('x')).subarray(0, 520)],
  ['25: cut before the zero blocks', 'ARCHIVE_TRUNCATED', tar(file('a')).subarray(0, 1024)],
  ['25: cut between the zero blocks', 'ARCHIVE_TRUNCATED', tar(file('a')).subarray(0, 1536)],
  ['25: cut in the zero padding', 'ARCHIVE_TRUNCATED', Buffer.concat([tar(file('a')), Buffer.alloc(100)])],
  ['26: a second tar', 'ARCHIVE_TRAILING_DATA', Buffer.concat([tar(file('a')), tar(file('b'))])],
  [
    '26: a second tar after padding',
    'ARCHIVE_TRAILING_DATA',
    Buffer.concat([tar(file('a')), tarEnd, tar(file('b'))]),
  ],
  ['26: a few bytes', 'ARCHIVE_TRAILING_DATA', Buffer.concat([tar(file('a')), Buffer.from('more')])],
  ['23: an xattr larger than a file can have', 'ARCHIVE_HEADER_TOO_LARGE', tar(withXattr('x', 65_536))],
  [
    '23: xattrs that are larger together than a file can have',
    'ARCHIVE_HEADER_TOO_LARGE',
    tar(
      pax(
        Object.fromEntries(['a', 'b', 'c'].map((name) => [`SCHILY.xattr.user.${name}`, 'v'.repeat(22_000)])),
      ),
      file('x'),
    ),
  ],
  [
    '23: an xattr with a longer name than one can have',
    'ARCHIVE_HEADER_TOO_LARGE',
    tar(pax({ [`SCHILY.xattr.user.${'n'.repeat(256)}`]: 'v' }), file('x')),
  ],
  ['29: more than the limit', 'ARCHIVE_TOO_LARGE', tar(file('a', 'x'.repeat(9000))), { maxBytes: 8192 }],
  [
    '30: one member too many',
    'ARCHIVE_TOO_MANY_ENTRIES',
    tar(file('a'), file('b'), file('c')),
    { maxEntries: 2 },
  ],
  ['30: folders that are only named', 'ARCHIVE_TOO_MANY_ENTRIES', tar(file('a/b/c/d')), { maxEntries: 2 }],
  ['39: no member', 'ARCHIVE_EMPTY', tar()],
  ['39: no member but a comment', 'ARCHIVE_EMPTY', tar(pax({ comment: 'c' }, 'g'))],
  ['39: 0 bytes', 'ARCHIVE_EMPTY', Buffer.alloc(0)],
];

for (const [row, code, archive, limits] of refused) {
  test(`row ${row} is refused with ${code}`, async () => {
    await refuseWith(code, archive, limits);
  });
}

const accepted: readonly (readonly [row: string, archive: Buffer, entries: number])[] = [
  ['6: links that point outside', tar(symlink('a', '/etc/passwd'), symlink('b', '../..')), 2],
  ['7: a hard link to an earlier file', tar(file('./a'), hardlink('h', './a'), hardlink('i', 'h')), 3],
  ['2: names of Windows are names in a tar', tar(file('C:\\x'), file('\\\\host\\x')), 2],
  ['7a: a hard link to a link', tar(symlink('d', '/etc/passwd'), hardlink('h', 'd'), hardlink('i', 'h')), 3],
  ['17: control characters', tar(file('a\nb'), file('\x1b[31mred'), file('a\u009bb'), file('Icon\r')), 4],
  ['10: setuid, setgid, sticky', tar({ name: 'a', mode: '0007755\0' }), 1],
  ['13: a folder after what it holds', tar(file('a/b'), folder('a/')), 2],
  ['14: a part of 255 bytes', tar(pax({ path: 'a'.repeat(255) }), file('x')), 1],
  [
    '14: a path of 4096 bytes',
    tar(gnuLong('L', `${'a'.repeat(255)}/`.repeat(16).slice(0, -1)), file('x')),
    1,
  ],
  ['15: 255 deep', tar(pax({ path: `${'a/'.repeat(254)}b` }), file('x')), 1],
  ['17: names in Unicode', tar(file('naïve/日本語/🙂')), 1],
  ['19: an all-digit PAX path', tar(pax({ path: '1234567890' }), file('x')), 1],
  ['22: a PAX size that is the same', tar(pax({ size: '1' }), file('x')), 1],
  [
    '22: L and K together',
    tar(gnuLong('K', 'k'.repeat(200)), gnuLong('L', 'l'.repeat(200)), symlink('x', 'y')),
    1,
  ],
  ['22: PAX records of nothing', tar(pax({ uid: '', gid: '', mtime: '' }), file('x')), 1],
  ['22: a label for all members', tar(pax({ 'GNU.volume.label': 'x' }, 'g'), file('x')), 1],
  ['22: a comment for all members', tar(pax({ comment: 'c' }, 'g'), file('x')), 1],
  ['23: an xattr of 60 000 bytes', tar(withXattr('x', 60_000)), 1],
  ['24: a time before 1970', tar({ name: 'x', patch: (block) => block.fill(0xff, 136, 148) }), 1],
  ['26: zero padding of 1 MiB', Buffer.concat([tar(file('a')), Buffer.alloc(1024 * 1024)]), 1],
  ['30: as many as allowed', tar(...Array.from({ length: 5000 }, (_, index) => file(`d/${index}`))), 5000],
  ['46: an archive in it', tar({ name: 'inner.tar', content: tar(file('../evil')) }), 1],
  [
    '9: a folder of the v7 form',
    tar({ name: 'd/', type: '\0', magic: '' }, { name: 'f', type: '\0', magic: '' }),
    2,
  ],
];

for (const [row, archive, entries] of accepted) {
  test(`row ${row} is accepted`, async () => {
    const summary = await accept(archive);
    assert.deepEqual(summary, { ...summary, entries, warnings: [], size: archive.length });
  });
}

const twins: readonly (readonly [string, string])[] = [
  ['Dockerfile', 'dockerfile'],
  ['dockerfile', 'Dockerfile'],
  ['straße', 'STRASSE'],
  ['é', 'e\u0301'],
  ['A/x', 'a/X'],
];
for (const [first, second] of twins) {
  test(`row 12: ${first} and ${JSON.stringify(second)} are accepted with a warning`, async () => {
    const { warnings } = await accept(tar(file(first), file(second)));
    assert.equal(warnings.length, 1);
  });
}

test('row 12: warnings are at most 20', async () => {
  const names = Array.from({ length: 50 }, (_, index) => [file(`a${index}`), file(`A${index}`)]).flat();
  assert.equal((await accept(tar(...names))).warnings.length, 20);
});

test('a message names the member and the rule, with nothing a terminal would act on', async () => {
  const through = await refuseWith('ENTRY_THROUGH_LINK', tar(symlink('d', '/tmp'), file('d/evil')));
  assert.equal(
    through.message,
    "Archive entry 'd/evil' would be written through the symbolic link 'd' → '/tmp'. Links must stay inside the context.",
  );
  const control = await refuseWith('ENTRY_CONFLICT', tar(file('\x1b[2J'), file('\x1b[2J/a')));
  assert.equal(control.details.entry, '\\u001b[2J/a');
  assert.equal(control.message, "Archive entry '\\u001b[2J/a' lies below '\\u001b[2J', which is a file.");
  const latin1 = await refuseWith('ENTRY_NAME_ENCODING', tar(file(Buffer.from('dé/caf\xe9.txt', 'latin1'))));
  assert.equal(latin1.details.entry, 'd\\xe9/caf\\xe9.txt');
  assert.match(latin1.message, /^Archive entry 'd\\xe9\/caf\\xe9\.txt' is not valid UTF-8, .* rename it/);
  const long = await refuseWith('ENTRY_NAME_TOO_LONG', tar(pax({ path: 'n'.repeat(9000) }), file('x')));
  assert.equal(long.details.entry?.length, 257);
});

function withByte(archive: Buffer, at: number, value: number): Buffer {
  archive[at] = value;
  return archive;
}

function twoPaths(): Buffer {
  return raw({ name: 'p', type: 'x', content: '10 path=a\n10 path=b\n' });
}
