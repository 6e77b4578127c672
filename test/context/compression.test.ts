import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { CompressedInput } from '../../src/context/compression/compressed-input.ts';
import { decodeInThread, type ThreadLimits } from '../../src/context/compression/decode-in-thread.ts';
import { archive, compress, digest, installCompressors } from './compress.ts';
import { inChunks, refuseWith, Staging } from './staging.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;
const recordBytes = 10_240;

await installCompressors();

const tools = [
  ...[
    'gzip',
    'bzip2',
    'bzip2 -1',
    'pbzip2 -c',
    'zstd',
    'zstd -1 --no-check',
    'zstd --ultra -22 -T1',
    'pzstd -c',
    'zstd --long=27',
  ],
  ...[
    'xz',
    'xz -0',
    'xz -9',
    'xz -T2 --block-size=100KiB',
    'xz --check=none',
    'xz --check=sha256',
    'xz --x86 --lzma2',
  ],
];
for (const tool of tools) {
  test(`row 44: what ${tool} makes is read byte for byte`, async () => {
    const compressed = await compress(tool);
    for (const size of [1021, compressed.length]) {
      await using staging = await Staging.create();
      await using staged = await staging.stage(inChunks(compressed, size), {}, undefined, 'tar');
      assert.deepEqual(staged.summary, { digest, size: archive.length, entries: 3, warnings: [] });
    }
  });
}

for (const [flag, name] of [
  ['-j', 'bzip2'],
  ['-J', 'xz'],
  ['--zstd', 'zstd'],
  ['-z', 'gzip'],
] as const) {
  test(`row 44: bsdtar ${flag}, which fills its last record behind the ${name} stream, is accepted`, async () => {
    const { stdout } = await run('bsdtar', [flag, '-cf', '-', '-C', import.meta.dirname, '.'], {
      encoding: 'buffer',
      maxBuffer: 64 * MiB,
    });
    assert.equal(stdout.length % recordBytes, 0);
    await using staging = await Staging.create();
    await using staged = await staging.stage(stdout);
    assert.ok(staged.summary.entries > 10);
  });
}

for (const [tool, message] of [
  ['xz --lzma2=dict=256MiB', /^The xz stream asks for more than \d+ bytes of memory/],
  [
    'zstd --long=31',
    /^The zstd stream asks for more than 128 MiB of memory; compress with --long=27 at most\.$/,
  ],
] as const) {
  test(`${tool}, which would take much memory to unpack, is refused with ARCHIVE_UNSUPPORTED`, async () => {
    const error = await refuseWith('ARCHIVE_UNSUPPORTED', await compress(tool));
    assert.match(error.message, message);
  });
}

for (const tool of ['xz', 'bzip2']) {
  test(`the thread that decodes ${tool} ends when its upload does`, async () => {
    const made = await compress(tool);
    await using staging = await Staging.create();
    const abort = new AbortController();
    async function* silent(): AsyncGenerator<Buffer> {
      yield made.subarray(0, 100_000);
      queueMicrotask(() => abort.abort(new Error('gone')));
      await new Promise(() => undefined);
    }
    await assert.rejects(staging.stage(silent(), {}, abort.signal), /gone/);
    assert.deepEqual(await staging.files(), []);
  });
}

for (const tool of ['xz', 'bzip2'] as const) {
  test(`more streams of ${tool} than it may have are refused`, async () => {
    const stream = await compress(tool, Buffer.from('a'));
    const decode = (count: number) =>
      decodeStreams(tool, Array<Buffer>(count).fill(stream), { maxStreams: 3 });
    assert.equal(await decode(3), 3);
    await assert.rejects(decode(4), { code: 'ARCHIVE_CORRUPT', message: /more than 3 \w+ streams/ });
  });
}

test('bzip2 that takes long for what little it is, and is never silent, is refused', async () => {
  const stream = await compress('bzip2', Buffer.from('a'));
  const decoded = decodeStreams('bzip2', Array<Buffer>(2000).fill(stream), { patienceMs: 200 });
  await assert.rejects(decoded, { code: 'ARCHIVE_CORRUPT', message: /takes longer to unpack/ });
});

test('bzip2 whose block never ends, and never says a byte, is refused', async () => {
  const { signal } = new AbortController();
  const decoded = decodeInThread(new CompressedInput(endlessBlock()), 'bzip2', { signal, patienceMs: 500 });
  await assert.rejects(decoded.next(), { code: 'ARCHIVE_CORRUPT', message: /takes longer to unpack/ });
});

/** A block that has one byte in use and begins a code of that byte, whose length then goes up and down by one for ever. */
async function* endlessBlock(): AsyncGenerator<Buffer> {
  const magic = Buffer.concat([Buffer.from('BZh9'), Buffer.from('314159265359', 'hex')]);
  const inUse = '1'.padEnd(16, '0').repeat(2);
  const [crc, randomised, origin] = ['0'.repeat(32), '0', '0'.repeat(24)];
  const [groups, selectors, selector, length] = ['010', '1'.padStart(15, '0'), '0', '01010'];
  const head = [crc, randomised, origin, inUse, groups, selectors, selector, length].join('');
  const upAndDown = '1011';
  const whole = Math.ceil(head.length / 8) * 8;
  yield Buffer.concat([magic, fromBits(head.padEnd(whole, upAndDown))]);
  const rest = fromBits(
    upAndDown.repeat(3).slice((whole - head.length) % 4, 8 + ((whole - head.length) % 4)),
  );
  for (;;) yield Buffer.alloc(64 * 1024, rest);
}

function fromBits(bits: string): Buffer {
  return Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}

/** How many bytes come out. */
async function decodeStreams(
  name: 'xz' | 'bzip2',
  streams: readonly Buffer[],
  limits: Omit<ThreadLimits, 'signal'>,
): Promise<number> {
  let bytes = 0;
  const { signal } = new AbortController();
  const input = new CompressedInput(inChunks(Buffer.concat(streams)));
  for await (const part of decodeInThread(input, name, { signal, ...limits })) bytes += part.length;
  return bytes;
}
