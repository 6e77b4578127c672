import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/model/error.ts';
import { extractImage, listTree } from './image.ts';
import { accept, type Limits, refuseWith, Staging } from './staging.ts';
import { unicodePath, type ZipItem, zip } from './zip.ts';

const link = (name: string, content: string): ZipItem => ({ name, content, mode: 0o120777 });
const a: ZipItem = { name: 'a', content: 'content of a' };
const b: ZipItem = { name: 'b', content: 'content of b', method: 0 };

const large = randomBytes(3_000_000);

/** A stored member of 40 bytes, whose local header may also speak in zip64's terms. */
const hiding = { name: 'a', content: 'x'.repeat(40), method: 0, extra: zip64Field(40, 40) };

const refused: readonly (readonly [row: string, code: ErrorCode, archive: Buffer, limits?: Limits])[] = [
  ['1: ../evil', 'ENTRY_ESCAPES', zip([{ name: '../evil' }])],
  ['2: /abs', 'ENTRY_ABSOLUTE', zip([{ name: '/abs' }])],
  ['2: C:\\x', 'ENTRY_ABSOLUTE', zip([{ name: 'C:\\x' }])],
  ['2: \\\\host\\x', 'ENTRY_ABSOLUTE', zip([{ name: '\\\\host\\x' }])],
  ['3: a/../b', 'ENTRY_ESCAPES', zip([{ name: 'a/../b' }])],
  ['9: of no known kind', 'ENTRY_TYPE', zip([{ name: 'x', mode: 0o170644 }])],
  ['11a: twice', 'ENTRY_DUPLICATE', zip([a, a])],
  ['11a: a folder twice', 'ENTRY_DUPLICATE', zip([{ name: 'd/' }, { name: 'd/' }])],
  ['11a: ./a and a', 'ENTRY_DUPLICATE', zip([{ name: './a' }, { name: 'a' }])],
  ['13: below a file', 'ENTRY_CONFLICT', zip([a, { name: 'a/b' }])],
  ['16: NUL', 'ENTRY_NAME', zip([{ name: 'a\0b' }])],
  ['18: not UTF-8 although marked', 'ENTRY_NAME_ENCODING', zip([{ name: Buffer.from([0x61, 0xff]) }])],
  ['29: a bomb of 30 MiB', 'ARCHIVE_TOO_LARGE', zip([{ name: 'x', content: Buffer.alloc(30 << 20) }])],
  ['30: one member too many', 'ARCHIVE_TOO_MANY_ENTRIES', zip([a, b]), { maxEntries: 1 }],
  ['31: two members with one content', 'ARCHIVE_AMBIGUOUS', overlapping()],
  ['32: name', 'ARCHIVE_AMBIGUOUS', zip([{ ...a, patchLocal: (header) => header.write('z', 30) }])],
  ['32: size', 'ARCHIVE_AMBIGUOUS', zip([{ ...a, patchLocal: (header) => header.writeUInt32LE(5, 22) }])],
  ['32: method', 'ARCHIVE_AMBIGUOUS', zip([{ ...a, patchLocal: (header) => header.writeUInt16LE(0, 8) }])],
  ['32: flags', 'ARCHIVE_AMBIGUOUS', zip([{ ...a, patchLocal: (header) => header.writeUInt16LE(0, 6) }])],
  ['32: checksum', 'ARCHIVE_AMBIGUOUS', zip([{ ...a, patchLocal: (header) => header.writeUInt32LE(5, 14) }])],
  ['32: signature', 'ARCHIVE_AMBIGUOUS', zip([b, { ...a, patchLocal: (header) => header.write('xx', 2) }])],
  [
    '32: descriptor',
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...a, described: true, patchDescriptor: (bytes) => bytes.writeUInt32LE(5, 12) }]),
  ],
  [
    '32: extra field longer',
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...a, patchLocal: (header) => header.writeUInt16LE(4, 28) }]),
  ],
  ['32: a folder that is a file', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'd/', mode: 0o100644 }])],
  ['32: a file that is a folder', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'd', mode: 0o040755 }])],
  ['32: a folder with content', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'd/', content: 'x' }])],
  ['2b: backslashes and slashes', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'a\\b' }, { name: 'a/c' }])],
  ['2b: slashes and backslashes', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'd/' }, { name: 'd\\c' }])],
  ['2b: both in one name', 'ARCHIVE_AMBIGUOUS', zip([{ name: 'a/b\\c' }])],
  ['2b: .. between backslashes', 'ENTRY_ESCAPES', zip([{ name: 'a\\..\\..\\evil' }])],
  ['2b: the same name in both ways', 'ENTRY_DUPLICATE', zip([{ name: 'd\\' }, { name: 'd\\' }])],
  ['33: suffix', 'ARCHIVE_AMBIGUOUS', Buffer.concat([zip([a]), Buffer.from('more')])],
  ['33: prefix', 'ARCHIVE_AMBIGUOUS', Buffer.concat([Buffer.from('PK\x03\x04junk'), zip([a])])],
  [
    '33: prefix with offsets that fit',
    'ARCHIVE_AMBIGUOUS',
    zip([a], { prefix: Buffer.from('PK\x03\x04junk') }),
  ],
  ['33: a zip after a zip', 'ARCHIVE_AMBIGUOUS', Buffer.concat([zip([a]), zip([b])])],
  ['33: data before the directory', 'ARCHIVE_AMBIGUOUS', zip([a], { gap: Buffer.from('junk') })],
  ['33: a zip in the comment', 'ARCHIVE_AMBIGUOUS', zip([a], { comment: zip([b]) })],
  ['33: an end record in the comment', 'ARCHIVE_AMBIGUOUS', zip([a], { comment: endRecord() })],
  [
    '33: a signature in the comment',
    'ARCHIVE_AMBIGUOUS',
    zip([a], { comment: Buffer.from('PK\x05\x06'.padEnd(40)) }),
  ],
  [
    '33: fewer entries counted',
    'ARCHIVE_AMBIGUOUS',
    zip([a, b], { patchEnd: (end) => countEntries(end, 1) }),
  ],
  ['33: zip64 with another count', 'ARCHIVE_AMBIGUOUS', zip64((records) => records.writeBigUInt64LE(2n, 32))],
  ['33: zip64 in another place', 'ARCHIVE_AMBIGUOUS', zip64((records) => records.writeBigUInt64LE(3n, 64))],
  ['33: zip64 without its signature', 'ARCHIVE_AMBIGUOUS', zip64((records) => records.write('xxxx'))],
  [
    '32: one size from zip64, the other not: what lies between is another member to some readers',
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...hiding, patchLocal: onlySizeWide }]),
  ],
  ['32: the other way round', 'ARCHIVE_AMBIGUOUS', zip([{ ...hiding, patchLocal: onlyCompressedSizeWide }])],
  [
    '32: two zip64 fields',
    'ARCHIVE_AMBIGUOUS',
    zip([
      { ...hiding, extra: Buffer.concat([zip64Field(40, 40), zip64Field(40, 40)]), patchLocal: seeZip64 },
    ]),
  ],
  ['33: an empty end record after a zip', 'ARCHIVE_AMBIGUOUS', Buffer.concat([zip([a]), endRecord()])],
  ['34: more bytes than declared', 'ARCHIVE_CORRUPT', zip([declaring(5)])],
  ['34: fewer bytes than declared', 'ARCHIVE_CORRUPT', zip([declaring(50)])],
  ['34: wrong checksum', 'ARCHIVE_CORRUPT', zip([{ ...b, patchContent: flipFirst }])],
  ['34: damaged deflate data', 'ARCHIVE_CORRUPT', zip([{ ...a, patchContent: (bytes) => bytes.fill(0xff) }])],
  [
    '34: bytes behind the end of the compressed data',
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...a, patchContent: (bytes) => Buffer.concat([bytes, Buffer.from('hidden')]) }]),
  ],
  [
    '34: one such byte, behind data of 3 MB',
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...a, content: large, patchContent: (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]) }]),
  ],
  [
    '34: compressed data that is cut off',
    'ARCHIVE_CORRUPT',
    zip([{ ...a, patchContent: (bytes) => bytes.subarray(0, -3) }]),
  ],
  ['35: traditional encryption', 'ARCHIVE_UNSUPPORTED', zip([{ ...a, flags: 0x801 }])],
  ['35: strong encryption', 'ARCHIVE_UNSUPPORTED', zip([{ ...a, flags: 0x841 }])],
  ['35: AES', 'ARCHIVE_UNSUPPORTED', zip([{ ...a, flags: 0x801, method: 99 }])],
  ['35: bzip2', 'ARCHIVE_UNSUPPORTED', zip([{ ...a, method: 12 }])],
  ['36: through a link to /tmp', 'ENTRY_THROUGH_LINK', zip([link('d', '/tmp'), { name: 'd/evil' }])],
  ['36: an empty link', 'ENTRY_NAME', zip([link('d', '')])],
  ['36: a link with NUL', 'ENTRY_NAME', zip([link('d', 'a\0b')])],
  ['36: a link of 4096 bytes', 'ENTRY_NAME', zip([link('d', 'x'.repeat(4096))])],
  ['37: CP437', 'ENTRY_NAME_ENCODING', zip([{ name: Buffer.from([0x81]), flags: 0 }])],
  ['37: another Unicode path', 'ENTRY_NAME_ENCODING', zip([{ ...a, extra: unicodePath('z') }])],
  ['38: of several disks', 'ARCHIVE_CORRUPT', zip([a], { patchEnd: (end) => end.writeUInt16LE(1, 4) })],
  [
    '38: a member on another disk',
    'ARCHIVE_CORRUPT',
    zip([a, { ...b, patchCentral: (header) => void header.writeUInt16LE(3, 34) }]),
  ],
  ['38: first of several parts', 'ARCHIVE_CORRUPT', splitZip()],
  [
    '38: zip64 record beyond the end',
    'ARCHIVE_CORRUPT',
    zip64((records) => records.writeBigUInt64LE(1n << 60n, 64)),
  ],
  [
    '38: zip64 directory beyond the end',
    'ARCHIVE_CORRUPT',
    zip64((records) => records.writeBigUInt64LE(1n << 60n, 48)),
  ],
  [
    '38: directory beyond the end',
    'ARCHIVE_CORRUPT',
    zip([a], { patchEnd: (end) => end.writeUInt32LE(1 << 30, 16) }),
  ],
  [
    '38: no directory there',
    'ARCHIVE_CORRUPT',
    zip([{ ...a, patchCentral: (header) => header.write('xx', 2) }]),
  ],
  ['39: no member', 'ARCHIVE_EMPTY', zip([])],
  ['25: cut', 'ARCHIVE_TRUNCATED', zip([a]).subarray(0, 60)],
  [
    '23: a directory over 64 MiB',
    'ARCHIVE_HEADER_TOO_LARGE',
    zip([a], { patchEnd: (end) => end.writeUInt32LE(1 << 30, 12) }),
  ],
];

for (const [row, code, archive, limits] of refused) {
  test(`zip, row ${row} is refused with ${code}`, async () => {
    await refuseWith(code, archive, limits);
  });
}

const accepted: readonly (readonly [name: string, archive: Buffer, entries: number])[] = [
  ['written to a pipe', zip([{ ...a, described: true }, b]), 2],
  ['with zip64 end records', zip([a, b], { zip64: true }), 2],
  ['with a comment', zip([a], { comment: Buffer.from('made by hand') }), 1],
  ['with the same Unicode path', zip([{ name: 'ü', extra: unicodePath('ü') }]), 1],
  ['with content that does not compress', zip([{ name: 'large', content: large }, a]), 2],
  ['with an empty file of no compressed bytes', zip([{ name: 'a', patchContent: () => Buffer.alloc(0) }]), 1],
  ['row 36: a link of 4095 bytes', zip([link('l', 'x'.repeat(4095))]), 1],
  ['row 36: links that point outside', zip([link('l', '/etc/passwd'), link('m', '../..')]), 2],
  [
    'row 46: a stored zip in it',
    zip([{ name: 'inner.zip', method: 0, content: zip([{ name: '../evil' }]) }]),
    1,
  ],
];
for (const [name, archive, entries] of accepted) {
  test(`zip ${name} is accepted`, async () => {
    assert.equal((await accept(archive)).entries, entries);
  });
}

test('a zip becomes an image with its names, modes, times, links and contents', async () => {
  const long = `${'long/'.repeat(40)}name`;
  await using staging = await Staging.create();
  await using staged = await staging.stageSealed(
    zip([
      { name: 'run.sh', content: '#!/bin/sh\n', mode: 0o104755 },
      { name: 'empty', mode: 0o100600 },
      { name: 'd/', mode: 0o040700 },
      link('d/link', `../${long}`),
      { name: long, content: 'x'.repeat(100_000) },
      { name: '日本', content: 'utf-8', method: 0 },
    ]),
  );
  await using image = await extractImage(staged.path);
  const listed = await listTree(image.directory, '%P %M %TF %TT %l');
  assert.deepEqual(
    listed.filter((line) => !line.startsWith('long')),
    [
      'd drwx------ 2025-01-01 00:00:00.0000000000 ',
      `d/link lrwxrwxrwx 2025-01-01 00:00:00.0000000000 ../${long}`,
      'empty -rw------- 2025-01-01 00:00:00.0000000000 ',
      'run.sh -rwsr-xr-x 2025-01-01 00:00:00.0000000000 ',
      '日本 -rwxr-xr-x 2025-01-01 00:00:00.0000000000 ',
    ],
  );
  assert.equal(await readFile(join(image.directory, long), 'utf8'), 'x'.repeat(100_000));
  assert.deepEqual((await staging.files()).length, 1, 'the zip itself is gone');
});

/** Two names in the central directory for one local entry. */
function overlapping(): Buffer {
  return zip([a, { ...a, patchCentral: (header) => header.writeUInt32LE(0, 42) }]);
}

function zip64(patchZip64: (records: Buffer) => void): Buffer {
  return zip([a], { zip64: true, patchZip64 });
}

function endRecord(): Buffer {
  return zip([]);
}

function countEntries(end: Buffer, entries: number): void {
  end.writeUInt16LE(entries, 8);
  end.writeUInt16LE(entries, 10);
}

/** Both places declare a size that the content does not have. */
function declaring(size: number): ZipItem {
  return {
    ...a,
    patchLocal: (header) => header.writeUInt32LE(size, 22),
    patchCentral: (header) => header.writeUInt32LE(size, 24),
  };
}

function flipFirst(bytes: Buffer): Buffer {
  const flipped = Buffer.from(bytes);
  flipped.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
  return flipped;
}

function splitZip(): Buffer {
  return Buffer.concat([Buffer.from('PK\x07\x08'), zip([a], { patchEnd: (end) => end.writeUInt16LE(1, 4) })]);
}

test('a zip64 field in the local header is read where both sizes say so', async () => {
  assert.equal((await accept(zip([{ ...hiding, patchLocal: seeZip64 }]))).entries, 1);
  await refuseWith(
    'ARCHIVE_AMBIGUOUS',
    zip([{ ...hiding, extra: zip64Field(40, 41), patchLocal: seeZip64 }]),
  );
});

function onlySizeWide(header: Buffer): void {
  header.writeUInt32LE(2, 18);
  header.writeUInt32LE(0xffffffff, 22);
}

function onlyCompressedSizeWide(header: Buffer): void {
  header.writeUInt32LE(0xffffffff, 18);
}

function seeZip64(header: Buffer): void {
  header.writeUInt32LE(0xffffffff, 18);
  header.writeUInt32LE(0xffffffff, 22);
}

function zip64Field(size: number, compressedSize: number): Buffer {
  const field = Buffer.alloc(20);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(16, 2);
  field.writeBigUInt64LE(BigInt(size), 4);
  field.writeBigUInt64LE(BigInt(compressedSize), 12);
  return field;
}
