import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { KilnError } from '../../src/model/error.ts';
import { extractImage, listTree } from './image.ts';
import { inChunks, Staging } from './staging.ts';
import { gnuLong, oldSparse, pax, type RawMember, raw, tar } from './tar.ts';
import { zip } from './zip.ts';

const part = fc.oneof(
  fc.stringMatching(/^[a-zA-Z0-9_-]{1,30}$/),
  fc.constantFrom('日本語', 'naïve', '🙂', '...', ' ', 'long'.repeat(40)),
);
const members = fc.uniqueArray(
  fc.record({
    path: fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => ['f', ...parts].join('/')),
    content: fc.oneof(fc.constant(''), fc.string({ maxLength: 2000 })),
    form: fc.constantFrom('pax', 'gnu'),
    chunk: fc.integer({ min: 1, max: 5000 }),
  }),
  // No path may be the folder of another: ends differ from parts.
  { selector: ({ path }) => path, minLength: 1, maxLength: 30 },
);

test('any valid archive becomes an image with its files, byte for byte', async () => {
  await using staging = await Staging.create();
  const property = fc.asyncProperty(members, fc.boolean(), async (list, compressed) => {
    const files = list.map((item) => ({ ...item, path: `${item.path}.end` }));
    const archive = tar(...files.map(withLongName));
    const upload = compressed ? gzipSync(archive) : archive;
    await using staged = await staging.stageSealed(inChunks(upload, files[0]?.chunk));
    assert.equal(staged.summary.size, archive.length);
    await using image = await extractImage(staged.path);
    for (const { path, content } of files)
      assert.equal(await readFile(join(image.directory, path), 'utf8'), content);
    const listed = await listTree(image.directory, '%y');
    assert.equal(listed.filter((type) => type === 'f').length, files.length);
  });
  await fc.assert(property, { numRuns: 60 });
});

const good = tar(
  pax({ path: 'p'.repeat(150), 'SCHILY.xattr.user.x': Buffer.from([0, 255, 10, 61]) }),
  { name: 'p', content: 'x'.repeat(700) },
  gnuLong('L', `d/${'n'.repeat(120)}`),
  { name: 'n', content: 'y' },
  { name: 'l', type: '2', target: 'd' },
  { name: 'h', type: '1', target: 'p'.repeat(150) },
  { name: 'i', type: '1', target: 'l' },
  { name: 'l', type: '2', target: 'e' },
  oldSparse('old-sparse', { realSize: 90, map: [1, 1, 3, 1, 5, 1, 7, 1, 9, 1], data: 'abcde' }),
  pax({
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.name': 's',
    'GNU.sparse.realsize': '99',
  }),
  { name: 's', content: Buffer.concat([Buffer.from('1\n9\n5\n'.padEnd(512, '\0')), Buffer.from('abcde')]) },
  pax({ 'GNU.sparse.size': '9', 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '4,1' }),
  { name: 't', content: 'x' },
);
const goodZip = zip(
  [
    { name: 'a', content: 'x'.repeat(2000) },
    { name: 'b/', mode: 0o040755 },
    { name: 'b/c', content: 'y', method: 0, described: true },
    { name: 'l', content: 'a', mode: 0o120777 },
  ],
  { zip64: true, comment: Buffer.from('comment') },
);

for (const [name, archive, numRuns] of [
  ['tar', good, 1500],
  ['gzip', gzipSync(good), 1500],
  [
    'gzip of two members',
    Buffer.concat([gzipSync(good.subarray(0, 1000)), gzipSync(good.subarray(1000))]),
    300,
  ],
  ['zstd', zstdCompressSync(good), 300],
  ['zip', goodZip, 1500],
] as const) {
  test(`a ${name} with any damage is accepted or refused in words, and leaves nothing`, async () => {
    await using staging = await Staging.create();
    const damage = fc.array(
      fc.tuple(
        fc.nat({ max: archive.length - 1 }),
        fc.constantFrom(0, 1, 0x20, 0x37, 0x80, 0xff),
        fc.boolean(),
      ),
      { minLength: 1, maxLength: 4 },
    );
    const property = fc.asyncProperty(
      damage,
      fc.option(fc.nat({ max: archive.length })),
      async (spots, cut) => {
        const damaged = Buffer.from(archive);
        for (const [at, value, flip] of spots) damaged[at] = flip ? value ^ (archive[at] ?? 0) : value;
        await stageAnyway(staging, mendChecksums(name, damaged.subarray(0, cut ?? archive.length)));
        assert.deepEqual(await staging.files(), []);
      },
    );
    await fc.assert(property, { numRuns });
  });
}

async function stageAnyway(staging: Staging, upload: Buffer): Promise<void> {
  try {
    await using _staged = await staging.stage(upload);
  } catch (error) {
    assert.ok(error instanceof KilnError, String(error));
    assert.notEqual(error.code, 'INTERNAL', error.cause instanceof Error ? error.cause.stack : undefined);
  }
}

/** Half of the damage would end at the first wrong checksum of a header, and what lies behind it never be seen. */
function mendChecksums(name: string, bytes: Buffer): Buffer {
  if (name !== 'tar' || bytes.length % 2 === 1) return bytes;
  for (let start = 0; start + 512 <= bytes.length; start += 512) {
    const block = bytes.subarray(start, start + 512);
    if (block.toString('latin1', 257, 262) !== 'ustar') continue;
    block.fill(' ', 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  }
  return bytes;
}

function withLongName({ path, content, form }: { path: string; content: string; form: string }): Buffer {
  const member: RawMember = { name: 'short', content };
  const gnu = { ...member, magic: 'ustar  \0' };
  if (form === 'gnu') return Buffer.concat([gnuLong('L', path), raw(gnu)]);
  return Buffer.concat([pax({ path, mtime: '1700000000.123456789' }), raw(member)]);
}
