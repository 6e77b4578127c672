import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../src/model/error.ts';
import { archive, compress, digest, installCompressors, noise } from './compress.ts';
import { inChunks, refuseWith, Staging } from './staging.ts';
import { file, tar } from './tar.ts';

const MiB = 1024 * 1024;

await installCompressors();

for (const tool of ['gzip', 'bzip2', 'xz', 'zstd']) {
  const name = tool;
  const half = archive.subarray(0, 100_000);

  test(`row 28: several streams of ${name} are one`, async () => {
    const parts = await Promise.all(
      [half, Buffer.alloc(0), archive.subarray(half.length)].map((part) => compress(tool, part)),
    );
    await using staging = await Staging.create();
    await using staged = await staging.stage(inChunks(Buffer.concat(parts), 4999));
    assert.equal(staged.summary.digest, digest);
  });

  const made = await compress(tool);
  const flipped = Buffer.from(made);
  flipped.writeUInt8(flipped.readUInt8(made.length >> 1) ^ 0x55, made.length >> 1);
  const lastFlipped = Buffer.from(made);
  lastFlipped.writeUInt8(lastFlipped.readUInt8(made.length - 3) ^ 0x55, made.length - 3);
  const refused: readonly (readonly [
    what: string,
    codes: ErrorCode | readonly ErrorCode[],
    upload: Buffer,
  ])[] = [
    ['cut in its beginning', 'ARCHIVE_TRUNCATED', made.subarray(0, 11)],
    ['cut in its middle', 'ARCHIVE_TRUNCATED', made.subarray(0, made.length >> 1)],
    ['cut at its end', 'ARCHIVE_TRUNCATED', made.subarray(0, -1)],
    ['damaged in its middle', ['ARCHIVE_CORRUPT', 'ARCHIVE_TRUNCATED'], flipped],
    ['damaged at its end', 'ARCHIVE_CORRUPT', lastFlipped],
    ['with a byte behind it', 'ARCHIVE_TRAILING_DATA', Buffer.concat([made, Buffer.from('x')])],
    ['with text behind it', 'ARCHIVE_TRAILING_DATA', Buffer.concat([made, Buffer.from('something else')])],
    ['with a zero behind it', 'ARCHIVE_TRAILING_DATA', Buffer.concat([made, Buffer.alloc(1)])],
    ['with another archive behind it', 'ARCHIVE_TRAILING_DATA', Buffer.concat([made, made])],
    [
      'followed by half of another',
      ['ARCHIVE_TRUNCATED', 'ARCHIVE_TRAILING_DATA'],
      Buffer.concat([made, made.subarray(0, 20)]),
    ],
    ['of nothing', 'ARCHIVE_EMPTY', await compress(tool, Buffer.alloc(0))],
    ['of what is no tar', 'ARCHIVE_CORRUPT', await compress(tool, noise(5000))],
  ];
  for (const [what, codes, upload] of refused) {
    test(`rows 27, 28: ${name} ${what} is refused with ${String(codes)}`, async () => {
      await refuseWith(codes, upload);
    });
  }

  test(`row 29: ${name} that unpacks to more than a hundred times its size is a bomb`, async () => {
    await refuseWith('ARCHIVE_TOO_LARGE', await compress(tool, tar(file('zeros', Buffer.alloc(11 * MiB)))));
    await refuseWith('ARCHIVE_TOO_LARGE', made, { maxBytes: 30_000 });
    await refuseWith('UPLOAD_TOO_LARGE', made, { maxUploadBytes: 30_000 });
  });
}
