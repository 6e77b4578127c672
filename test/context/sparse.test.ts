import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { ErrorCode } from '../../src/model/error.ts';
import { installTools } from '../install-tools.ts';
import { extractImage } from './image.ts';
import { type Limits, refuseWith, Staging } from './staging.ts';
import { file, oldSparse, pax, type RawMember, raw, tar } from './tar.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;

/** 10 bytes: two holes, and data at 3 and 8. */
const content = '\0\0\0abc\0\0de';
const data = 'abcde';
const map = [3, 3, 8, 2];

const form0 = (size: number, numbers: readonly number[], count = numbers.length / 2): Buffer =>
  pax([
    ['GNU.sparse.size', `${size}`],
    ['GNU.sparse.numblocks', `${count}`],
    ...numbers.map((number, index): [string, string] => [
      index % 2 ? 'GNU.sparse.numbytes' : 'GNU.sparse.offset',
      `${number}`,
    ]),
  ]);
const form01 = (size: number, numbers: string, count: number): Buffer =>
  pax({
    ...{ 'GNU.sparse.size': `${size}`, 'GNU.sparse.numblocks': `${count}` },
    ...{ 'GNU.sparse.name': 'a', 'GNU.sparse.map': numbers },
  });
const form1 = (size: number | string, minor = 0): Buffer =>
  pax({
    ...{ 'GNU.sparse.major': '1', 'GNU.sparse.minor': `${minor}` },
    ...{ 'GNU.sparse.name': 'a', 'GNU.sparse.realsize': `${size}` },
  });
/** The map that stands before the data, in whole blocks. */
const lines = (text: string): Buffer => {
  const blocks = Buffer.alloc(Math.ceil(text.length / 512) * 512);
  blocks.write(text);
  return blocks;
};
const mapped = (numbers: readonly number[], text = data): RawMember => ({
  name: 'GNUSparseFile.1/a',
  content: Buffer.concat([
    lines([numbers.length / 2, ...numbers].map((n) => `${n}\n`).join('')),
    Buffer.from(text),
  ]),
});
const many = Array.from({ length: 3000 }, (_, index) => [index * 2, 1]).flat();
const manyContent = 'x\0'.repeat(3000).slice(0, -1);

const files: readonly (readonly [what: string, archive: Buffer, content: string])[] = [
  ['old GNU', tar(oldSparse('a', { realSize: 10, map, data })), content],
  [
    'old GNU, more parts than its header holds',
    tar(oldSparse('a', { realSize: 5999, map: many, data: 'x'.repeat(3000) })),
    manyContent,
  ],
  [
    'old GNU, nothing but a hole',
    tar(oldSparse('a', { realSize: 10, map: [10, 0], data: '' })),
    '\0'.repeat(10),
  ],
  ['old GNU, with no part at all', tar(oldSparse('a', { realSize: 10, map: [], data: '' })), '\0'.repeat(10)],
  ['PAX 0.0', tar(form0(10, map), file('a', data)), content],
  ['PAX 0.0, an empty file', tar(form0(0, []), file('a', '')), ''],
  ['PAX 0.1', tar(form01(10, map.join(), 2), file('b', data)), content],
  ['PAX 1.0', tar(form1(10), mapped(map)), content],
  ['PAX 1.0, a map of many blocks', tar(form1(5999), mapped(many, 'x'.repeat(3000))), manyContent],
  ['PAX 1.0, a hole at the end', tar(form1(5000), mapped([0, 5, 5000, 0])), data.padEnd(5000, '\0')],
  ['PAX 1.0, no hole', tar(form1(5), mapped([0, 5])), data],
  ['PAX 1.0, parts without bytes', tar(form1(10), mapped([0, 0, 3, 3, 6, 0, 8, 2])), content],
];
for (const [what, archive, expected] of files) {
  test(`row 20: a sparse file of the form ${what} is read, its holes as zeros`, async () => {
    await using staging = await Staging.create();
    await using staged = await staging.stageSealed(Buffer.concat([raw(file('before', 'b')), archive]));
    assert.deepEqual(staged.summary.warnings, []);
    await using image = await extractImage(staged.path);
    assert.equal(await readFile(join(image.directory, 'a'), 'utf8'), expected);
    assert.equal(await readFile(join(image.directory, 'before'), 'utf8'), 'b');
  });
}

const full: Limits = { maxBytes: 2 * MiB };
const refused: readonly (readonly [what: string, code: ErrorCode, archive: Buffer, limits?: Limits])[] = [
  ['in no order', 'ARCHIVE_CORRUPT', tar(form1(10), mapped([8, 2, 3, 3]))],
  ['that overlaps', 'ARCHIVE_CORRUPT', tar(form1(10), mapped([3, 3, 5, 2]))],
  ['beyond the size', 'ARCHIVE_CORRUPT', tar(form1(9), mapped(map))],
  ['an empty part beyond the size', 'ARCHIVE_CORRUPT', tar(form1(10), mapped([...map, 11, 0]))],
  ['for more than is stored', 'ARCHIVE_CORRUPT', tar(form1(20), mapped([3, 3, 8, 9]))],
  ['for less than is stored', 'ARCHIVE_CORRUPT', tar(form1(10), mapped([3, 3]))],
  ['for nothing, with data', 'ARCHIVE_CORRUPT', tar(form1(10), mapped([]))],
  ['without end', 'ARCHIVE_CORRUPT', tar(form1(10), { name: 'a', content: lines('9999999\n1\n') })],
  ['cut off', 'ARCHIVE_CORRUPT', tar(form1(10), { name: 'a', content: lines('2\n3\n') })],
  ['shorter than a block', 'ARCHIVE_CORRUPT', tar(form1(10), file('a', '0\n'))],
  ['no number', 'ARCHIVE_CORRUPT', tar(form1(10), { name: 'a', content: lines('1\n-3\n3\n') })],
  [
    'of numbers without end',
    'ARCHIVE_CORRUPT',
    tar(form1(10), { name: 'a', content: Buffer.alloc(4096, '1') }),
  ],
  ['with something behind it', 'ARCHIVE_CORRUPT', tar(form1(10), { name: 'a', content: lines('0\nx') })],
  ['of form 1.1', 'ARCHIVE_CORRUPT', tar(form1(10, 1), mapped(map))],
  ['with a size that is no number', 'ARCHIVE_CORRUPT', tar(form1('9e9'), mapped(map))],
  [
    'of two forms',
    'ARCHIVE_CORRUPT',
    tar(
      pax({
        'GNU.sparse.size': '9',
        'GNU.sparse.realsize': '9',
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
      }),
      mapped(map),
    ),
  ],
  ['that is missing', 'ARCHIVE_CORRUPT', tar(pax({ 'GNU.sparse.name': 'a' }), file('b'))],
  ['0.0: fewer parts than counted', 'ARCHIVE_CORRUPT', tar(form0(10, map, 3), file('a', data))],
  ['0.0: half of a pair', 'ARCHIVE_CORRUPT', tar(form0(10, [3, 3, 8], 2), file('a', data))],
  [
    '0.0: two offsets',
    'ARCHIVE_CORRUPT',
    tar(
      pax([
        ['GNU.sparse.offset', '1'],
        ['GNU.sparse.offset', '2'],
      ]),
      file('a', data),
    ),
  ],
  [
    '0.0: pairs of no file',
    'ARCHIVE_CORRUPT',
    tar(
      pax([
        ['GNU.sparse.offset', '1'],
        ['GNU.sparse.numbytes', '1'],
      ]),
      file('a'),
    ),
  ],
  ['0.1: more parts than counted', 'ARCHIVE_CORRUPT', tar(form01(10, map.join(), 1), file('a', data))],
  ['0.1: no numbers', 'ARCHIVE_CORRUPT', tar(form01(10, '3,,8,2', 2), file('a', data))],
  [
    '0.1: a count without end',
    'ARCHIVE_CORRUPT',
    tar(form01(10, '1,1,'.repeat(99_999), 99_999), file('a', data)),
  ],
  ['old GNU: in no order', 'ARCHIVE_CORRUPT', tar(oldSparse('a', { realSize: 10, map: [8, 2, 3, 3], data }))],
  [
    'old GNU: a gap',
    'ARCHIVE_CORRUPT',
    tar(oldSparse('a', { realSize: 10, map, data }, (block) => block.fill(0, 386, 410))),
  ],
  [
    'old GNU: no number',
    'ARCHIVE_CORRUPT',
    tar(oldSparse('a', { realSize: 10, map, data }, (block) => block.write('x', 390))),
  ],
  [
    'old GNU: no size',
    'ARCHIVE_CORRUPT',
    tar(oldSparse('a', { realSize: 10, map, data }, (block) => block.fill(0, 483, 495))),
  ],
  [
    'old GNU: a size beyond 8 GiB',
    'ARCHIVE_CORRUPT',
    tar(oldSparse('a', { realSize: 10, map, data }, (block) => block.fill(0x80, 483, 484))),
  ],
  [
    'old GNU: blocks without end',
    'ARCHIVE_CORRUPT',
    tar(oldSparse('a', { realSize: 10, map: [...Array(80_000).keys()].flatMap((n) => [n, 0]), data: '' })),
  ],
  [
    'old GNU: cut between its blocks',
    'ARCHIVE_TRUNCATED',
    oldSparse('a', { realSize: 5999, map: many, data: 'x' }).subarray(0, 1500),
  ],
  ['old GNU and PAX', 'ARCHIVE_AMBIGUOUS', tar(form0(10, map), oldSparse('a', { realSize: 10, map, data }))],
  ['of a folder', 'ARCHIVE_AMBIGUOUS', tar(form0(10, []), { name: 'd/', type: '5' })],
  ['of star', 'ENTRY_SPARSE', tar(pax({ 'SCHILY.realsize': '9' }), file('x'))],
  ['of Solaris', 'ENTRY_SPARSE', tar(pax({ 'SUN.holesdata': ' 0 4' }), file('x'))],
  ['29: of more than the limit', 'ARCHIVE_TOO_LARGE', tar(form1(2 * MiB), mapped(map)), full],
  [
    '29: of more than the limit together',
    'ARCHIVE_TOO_LARGE',
    tar(form1(MiB), mapped(map), form1(MiB), mapped(map)),
    full,
  ],
  ['29: of 2^53 bytes', 'ARCHIVE_TOO_LARGE', tar(form1(Number.MAX_SAFE_INTEGER), mapped(map))],
  ['29: a bomb', 'ARCHIVE_TOO_LARGE', tar(form1(20 * MiB), mapped(map))],
  [
    '14: a name that is too long',
    'ENTRY_NAME_TOO_LONG',
    tar(
      pax({
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
        'GNU.sparse.realsize': '10',
        'GNU.sparse.name': 'n'.repeat(256),
      }),
      mapped(map),
    ),
  ],
];
for (const [what, code, archive, limits] of refused) {
  test(`row 20: a sparse map ${what} is refused with ${code}`, async () => {
    await refuseWith(code, archive, limits);
  });
}

const tools: readonly (readonly [tool: string, ...options: string[]])[] = [
  ['tar', '--sparse', '--format=gnu'],
  ['tar', '--sparse', '--format=oldgnu'],
  ['tar', '--sparse', '--format=pax', '--sparse-version=0.0'],
  ['tar', '--sparse', '--format=pax', '--sparse-version=0.1'],
  ['tar', '--sparse', '--format=pax', '--sparse-version=1.0'],
  ['bsdtar'],
];
for (const [tool, ...options] of tools) {
  test(`row 20: what ${[tool, ...options].join(' ')} makes of sparse files becomes the same files, without writing their holes`, async () => {
    await installTools([{ find: 'bsdtar', package: 'libarchive-tools' }]);
    const directory = await mkdtemp(join(tmpdir(), 'kiln-sparse-'));
    try {
      await makeSparse(join(directory, 'one'), 9 * MiB, [5 * MiB]);
      await makeSparse(join(directory, 'n'.repeat(120)), 3 * MiB + 7, [0, 12_345, 3 * MiB]);
      const parts = Array.from({ length: 40 }, (_, index) => index * 70_000);
      await makeSparse(join(directory, 'many'), 40 * 70_000, parts);
      await makeSparse(join(directory, 'hole'), MiB, []);
      const args = [...options, '-C', directory, '-cf', '-', '.'];
      const { stdout } = await run(tool, args, { encoding: 'buffer', maxBuffer: 64 * MiB });
      await using staging = await Staging.create();
      await using staged = await staging.stageSealed(stdout);
      const { blocks, size } = await stat(staged.path);
      assert.ok(size > 15 * MiB && blocks * 512 < 6 * MiB, `${blocks * 512} of ${size} bytes`);
      await using image = await extractImage(staged.path);
      await run('diff', ['--recursive', directory, image.directory]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
}

async function makeSparse(path: string, size: number, places: readonly number[]): Promise<void> {
  await using handle = await open(path, 'w');
  await handle.truncate(size);
  for (const at of places) await handle.write(Buffer.from(`data at ${at}`.slice(0, size - at)), 0, null, at);
}
