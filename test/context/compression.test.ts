import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
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
