import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../src/model/error.ts';
import { accept, inChunks, refuseWith, Staging } from './staging.ts';
import { file, tar } from './tar.ts';

const recordBytes = 10_240;

const archive = tar(file('Dockerfile', 'FROM scratch\n'), file('noise', noise(60_000)));
const zipped = gzipSync(archive);
const half = Math.floor(zipped.length / 2);

const refused: readonly (readonly [row: string, codes: ErrorCode | readonly ErrorCode[], upload: Buffer])[] =
  [
    ['24: gzip of what is no tar', 'ARCHIVE_CORRUPT', gzipSync(noise(5000))],
    ['27: cut in its header', 'ARCHIVE_TRUNCATED', zipped.subarray(0, 5)],
    ['27: cut in its data', 'ARCHIVE_TRUNCATED', zipped.subarray(0, half)],
    ['27: cut in its checksum', 'ARCHIVE_TRUNCATED', zipped.subarray(0, -3)],
    ['27: wrong checksum', 'ARCHIVE_CORRUPT', flipped(zipped, zipped.length - 8)],
    ['27: wrong length', 'ARCHIVE_CORRUPT', flipped(zipped, zipped.length - 1)],
    ['27: damaged data', ['ARCHIVE_CORRUPT', 'ARCHIVE_TRUNCATED'], flipped(zipped, half)],
    ['27: reserved flags', 'ARCHIVE_CORRUPT', flipped(zipped, 3, 0x80)],
    ['27: an unknown method', 'ARCHIVE_CORRUPT', flipped(zipped, 2, 1)],
    ['27: a name without end', 'ARCHIVE_CORRUPT', Buffer.concat([withFlag(8), Buffer.alloc(80_000, 'n')])],
    [
      '28: a trailing byte behind two members',
      'ARCHIVE_TRAILING_DATA',
      Buffer.concat([zipped, gzipSync(''), Buffer.from('x')]),
    ],
    ['28: a cut second member', 'ARCHIVE_TRUNCATED', Buffer.concat([zipped, zipped.subarray(0, 4)])],
    ['28: a damaged second member', 'ARCHIVE_CORRUPT', Buffer.concat([zipped, flipped(gzipSync(''), 12)])],
    ['28: a tar in each of two members', 'ARCHIVE_TRAILING_DATA', Buffer.concat([zipped, zipped])],
    ['28: a trailing byte', 'ARCHIVE_TRAILING_DATA', Buffer.concat([zipped, Buffer.from('x')])],
    ['28: zeros beyond a record', 'ARCHIVE_TRAILING_DATA', fillRecord(zipped, 1)],
    [
      '28: zeros that fill no record',
      'ARCHIVE_TRAILING_DATA',
      Buffer.concat([fillRecord(zipped), Buffer.alloc(512)]),
    ],
    [
      '28: a record filled with something else',
      'ARCHIVE_TRAILING_DATA',
      flipped(fillRecord(zipped), zipped.length + 9),
    ],
    ['28: trailing zeros', 'ARCHIVE_TRAILING_DATA', Buffer.concat([zipped, Buffer.alloc(100_000)])],
    ['39: gzip of nothing', 'ARCHIVE_EMPTY', gzipSync(Buffer.alloc(0))],
  ];
for (const [row, codes, upload] of refused) {
  test(`gzip, row ${row} is refused with ${String(codes)}`, async () => {
    await refuseWith(codes, upload);
  });
}

for (const size of [1021, 7, zipped.length, zipped.length + 1]) {
  test(`gzip, row 28: the zeros with which bsdtar fills its last record are none (chunks of ${size} bytes)`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(inChunks(fillRecord(zipped), size));
    assert.equal(staged.summary.entries, 2);
  });
}

for (const size of [50, 1000, 30_000]) {
  test(`gzip, row 28: members of ${size} bytes each are one stream`, async () => {
    const parts: Buffer[] = [];
    for (let at = 0; at < archive.length; at += size) parts.push(gzipSync(archive.subarray(at, at + size)));
    for (const chunk of [7, 65_536]) {
      await using staging = await Staging.create();
      await using staged = await staging.stage(inChunks(fillRecord(Buffer.concat(parts)), chunk));
      const digest = createHash('sha256').update(archive).digest('hex');
      assert.equal(staged.summary.digest, `sha256:${digest}`);
    }
  });
}

test('gzip, row 29: the whole archive counts, whatever comes first in it', async () => {
  const [zeros, rest] = [file('zeros', '\0'.repeat(20 << 20)), file('rest', noise(1 << 20))];
  assert.equal((await accept(gzipSync(tar(zeros, rest)))).entries, 2);
  assert.equal((await accept(gzipSync(tar(rest, zeros)))).entries, 2);
});

test('gzip, row 29: 2 MB that unpack to 2 GiB stop at a hundred times their size', async () => {
  const zeros = tar(file('zeros', '\0'.repeat(64 << 20)));
  const error = await refuseWith('ARCHIVE_TOO_LARGE', gzipSync(zeros));
  assert.match(error.message, /100 times/);
});

test('gzip, row 29: small text may unpack to more than a hundred times its size', async () => {
  const text = gzipSync(tar(file('text', 'a'.repeat(5 << 20))));
  assert.ok(text.length * 100 < 5 << 20);
  assert.equal((await accept(text)).entries, 1);
});

test('gzip, row 29: the limit of the unpacked size holds', async () => {
  await refuseWith('ARCHIVE_TOO_LARGE', zipped, { maxBytes: 30_000 });
});

test('gzip with an extra field, a name, a comment and a header checksum is read', async () => {
  const fields = Buffer.concat([
    Buffer.from([3, 0, 1, 2, 3]),
    Buffer.from('name\0comment\0'),
    Buffer.alloc(2),
  ]);
  const header = withFlag(4 | 8 | 16 | 2);
  assert.equal((await accept(Buffer.concat([header, fields, zipped.subarray(10)]))).entries, 2);
});

for (const size of [1, 7, 4096, zipped.length - 8, zipped.length - 1]) {
  test(`gzip in chunks of ${size} bytes gives the tar byte for byte`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stage(inChunks(zipped, size));
    const digest = createHash('sha256').update(archive).digest('hex');
    assert.deepEqual(staged.summary, {
      digest: `sha256:${digest}`,
      size: archive.length,
      entries: 2,
      warnings: [],
    });
  });
}

/** As bsdtar ends what it writes to a pipe. */
function fillRecord(bytes: Buffer, moreRecords = 0): Buffer {
  const records = Math.ceil(bytes.length / recordBytes) + moreRecords;
  return Buffer.concat([bytes, Buffer.alloc(records * recordBytes - bytes.length)]);
}

/** Bytes that do not compress, the same in every run. */
function noise(length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, index) =>
    createHash('sha256').update(String(index)).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}

function flipped(bytes: Buffer, at: number, bits = 0x55): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ bits, at);
  return copy;
}

function withFlag(flag: number): Buffer {
  const header = Buffer.from(zipped.subarray(0, 10));
  header.writeUInt8(flag, 3);
  return header;
}
