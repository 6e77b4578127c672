import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { AppendFile } from '../../src/logs/append-file.ts';
import type { KilnError } from '../../src/model/error.ts';
import { collect, createFolder, next } from './harness.ts';

const { signal } = new AbortController();

async function readAll(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  return Buffer.concat(await collect(chunks));
}

test('a follower has the first bytes before the second are written', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  const reader = file.read({ offset: 0, follow: true, signal })[Symbol.asyncIterator]();
  const first = next(reader);
  await file.append(Buffer.from('first'));
  assert.equal((await first).toString(), 'first');
  await file.append(Buffer.from('second'));
  assert.equal((await next(reader)).toString(), 'second');
  await file.end();
  assert.equal((await reader.next()).done, true);
});

test('appends land in the order of their calls, whoever awaits them', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  const lines = Array.from({ length: 200 }, (_, index) => `${index}\n`);
  await Promise.all(lines.map((line) => file.append(Buffer.from(line))));
  await file.end();
  assert.equal(await readFile(join(folder.path, 'log'), 'utf8'), lines.join(''));
  assert.equal(file.size, lines.join('').length);
});

test('bulk comes in chunks of at most 64 KiB', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  for (let count = 0; count < 200; count += 1) await file.append(Buffer.alloc(1000, count));
  await file.end();
  const chunks = await collect(file.read({ offset: 0, follow: true, signal }));
  assert.deepEqual(
    chunks.map((chunk) => chunk.length),
    [65536, 65536, 65536, 3392],
  );
});

test('without follow a reader gets what was there when it asked, and ends', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  await file.append(Buffer.from('before'));
  const chunks = file.read({ offset: 2, follow: false, signal });
  await file.append(Buffer.from(' after'));
  assert.equal((await readAll(chunks)).toString(), 'fore');
  await file.end();
});

test('an offset beyond the file is OUT_OF_RANGE at once; its very end is none', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  await file.append(Buffer.from('abc'));
  assert.throws(() => file.read({ offset: 4, follow: true, signal }), { code: 'OUT_OF_RANGE' });
  assert.equal((await readAll(file.read({ offset: 3, follow: false, signal }))).length, 0);
  await file.end();
});

test('an ended file takes no more, from the moment of the call', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  const last = file.append(Buffer.from('last'));
  const ends = [file.end(), file.end()];
  await assert.rejects(file.append(Buffer.from('late')), /has ended/);
  await Promise.all([last, ...ends]);
  assert.equal((await readAll(file.read({ offset: 0, follow: true, signal }))).toString(), 'last');
});

test('a later run of the service reads the same file to its end', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'log');
  await writeFile(path, 'all of it');
  const file = await AppendFile.openEnded(path);
  assert.equal(file.size, 9);
  assert.equal((await readAll(file.read({ offset: 4, follow: true, signal }))).toString(), 'of it');
  await assert.rejects(file.append(Buffer.from('x')), /has ended/);
});

test('a log is never written over', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'log');
  await (await AppendFile.create(path)).end();
  await assert.rejects(AppendFile.create(path), { code: 'EEXIST' });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('a follower that waits ends with the reason of its signal', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  const controller = new AbortController();
  const reason = new Error('the client went away');
  const reading = readAll(file.read({ offset: 0, follow: true, signal: controller.signal }));
  await setImmediate();
  controller.abort(reason);
  await assert.rejects(reading, reason);
  await file.end();
});

test('a full disk is STORAGE_FULL, and does not end the file', async () => {
  const file = await AppendFile.reopen('/dev/full');
  await assert.rejects(file.append(Buffer.from('x')), { code: 'STORAGE_FULL' });
  await assert.rejects(file.append(Buffer.from('x')), { code: 'STORAGE_FULL' });
  assert.equal(file.size, 0);
  await assert.rejects(file.end());
});

test('an end that the disk refuses is said once, with its cause; the file has ended and is closed all the same', async () => {
  const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
  const before = await openFiles();
  // A device that takes no sync, as a disk that fails takes none.
  const file = await AppendFile.reopen('/dev/full');
  await assert.rejects(
    file.end(),
    (error: KilnError) =>
      error.code === 'INTERNAL' &&
      error.message === 'The disk did not take all of /dev/full.' &&
      error.cause instanceof Error,
  );
  await file.end();
  assert.equal(await openFiles(), before);
  await assert.rejects(file.append(Buffer.from('x')), /has ended/);
  assert.deepEqual(await Array.fromAsync(file.read({ offset: 0, follow: true, signal })), []);
});

test('of a write that failed half-way nothing stays, and the next one takes its place', async () => {
  await using folder = await createFolder();
  // The shell gives the process room for a file of 8 KiB: the third write is cut in its middle.
  const script = `
    import { AppendFile } from ${JSON.stringify(new URL('../../src/logs/append-file.ts', import.meta.url).href)};
    const file = await AppendFile.create('log');
    const write = (bytes, fill) => file.append(Buffer.alloc(bytes, fill)).then(() => 'kept', () => 'refused');
    console.log(await write(3000, 'a'), await write(3000, 'b'), await write(3000, 'c'), await write(1000, 'd'), file.size);
    process.exit();
  `;
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-c', 'trap "" XFSZ; ulimit -f 8; exec "$0" --input-type=module --eval "$1"', process.execPath, script],
    { cwd: folder.path },
  );
  assert.equal(stdout.trim(), 'kept kept refused kept 7000');
  const expected = `${'a'.repeat(3000)}${'b'.repeat(3000)}${'d'.repeat(1000)}`;
  assert.equal(await readFile(join(folder.path, 'log'), 'utf8'), expected);
});

const appends = fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 20 });
const readers = fc.array(
  fc.record({
    /** After how many appends it comes, and at which share of what is there then. */
    after: fc.nat(20),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    /** How many turns of the event loop it takes over each chunk. */
    turns: fc.nat(3),
  }),
  { minLength: 1, maxLength: 6 },
);

test('each reader sees exactly the bytes from its offset on, whenever it comes and however slow it is', async () => {
  await using folder = await createFolder();
  let files = 0;
  await fc.assert(
    fc.asyncProperty(appends, readers, async (pieces, plans) => {
      const file = await AppendFile.create(join(folder.path, `log${files++}`));
      const reading: Promise<{ offset: number; bytes: Buffer }>[] = [];
      for (let index = 0; index <= pieces.length; index += 1) {
        for (const { turns, share } of plans.filter(
          ({ after }) => Math.min(after, pieces.length) === index,
        )) {
          const offset = Math.floor(file.size * share);
          reading.push(readSlowly(file, offset, turns));
        }
        const piece = pieces[index];
        if (piece) await file.append(piece);
      }
      await file.end();
      const whole = Buffer.concat(pieces);
      for (const { offset, bytes } of await Promise.all(reading)) {
        assert.deepEqual(bytes, whole.subarray(offset));
      }
      assert.equal(reading.length, plans.length);
    }),
    { numRuns: 100 },
  );
});

async function readSlowly(
  file: AppendFile,
  offset: number,
  turns: number,
): Promise<{ offset: number; bytes: Buffer }> {
  const chunks: Buffer[] = [];
  for await (const chunk of file.read({ offset, follow: true, signal })) {
    chunks.push(chunk);
    for (let turn = 0; turn < turns; turn += 1) await setImmediate();
  }
  return { offset, bytes: Buffer.concat(chunks) };
}

test('200 readers that do not read hold 64 KiB each and delay no writer', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  await file.append(randomBytes(64 * 1024));
  const slow = Array.from({ length: 200 }, () =>
    file.read({ offset: 0, follow: true, signal })[Symbol.asyncIterator](),
  );
  for (const reader of slow) await next(reader);
  const before = process.memoryUsage().arrayBuffers;
  const block = Buffer.alloc(1024 * 1024, 'x');
  for (let count = 0; count < 100; count += 1) await file.append(block);
  await file.end();
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 8 * 1024 * 1024, `${grown} bytes more after 100 MiB`);
  const [one = assert.fail()] = slow;
  let rest = 0;
  for (let result = await one.next(); !result.done; result = await one.next()) rest += result.value.length;
  assert.equal(rest, 100 * block.length);
  for (const reader of slow) await reader.return?.();
});

test('a reader that leaves closes its file', async () => {
  await using folder = await createFolder();
  const file = await AppendFile.create(join(folder.path, 'log'));
  await file.append(Buffer.from('some'));
  const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
  const before = await openFiles();
  for await (const _chunk of file.read({ offset: 0, follow: true, signal })) break;
  assert.equal(await openFiles(), before);
  await file.end();
});
