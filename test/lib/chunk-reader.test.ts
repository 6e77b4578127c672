import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ChunkReader } from '../../src/lib/chunk-reader.ts';

const KiB = 1024;
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) await setImmediate();
};

test('chunks come as they were written, none joined to another', async () => {
  const stream = new PassThrough();
  const reader = new ChunkReader(stream);
  const first = reader.next();
  const written = ['a', 'bc', '', 'def', 'g'];
  for (const text of written) stream.write(text);
  stream.end();
  await turns();
  assert.equal(String((await first).value), 'a');
  const rest: string[] = [];
  for await (const chunk of reader) rest.push(String(chunk));
  assert.deepEqual(rest, ['bc', 'def', 'g']);
});

test('a stream is read no further than its reader is, by more than what may wait', async () => {
  const stream = new PassThrough({ highWaterMark: 64 * KiB });
  let read = 0;
  const reader = new ChunkReader(stream, (bytes) => {
    read += bytes;
  });
  let taken = 0;
  const write = (): void => {
    while (taken < 100) {
      taken += 1;
      if (!stream.write(Buffer.alloc(64 * KiB))) break;
    }
  };
  stream.on('drain', write);
  write();
  await reader.next();
  await turns();
  assert.ok(taken < 20, `${taken} chunks were taken`);
  assert.equal(read, 64 * KiB);
  for (let chunk = 1; chunk < 100; chunk += 1) await reader.next();
  assert.equal(read, 100 * 64 * KiB);
});

test('leaving takes effect at once, also while a chunk is awaited, and leaves the stream whole', async () => {
  const stream = new PassThrough();
  const reader = new ChunkReader(stream);
  const asked = reader.next();
  await reader.return();
  assert.deepEqual(await asked, { done: true, value: undefined });
  assert.deepEqual(await reader.next(), { done: true, value: undefined });
  assert.equal(stream.destroyed, false);
  const seen: string[] = [];
  stream.on('data', (chunk: Buffer) => seen.push(String(chunk))).resume();
  stream.end('for the next reader');
  await turns();
  assert.deepEqual(seen, ['for the next reader']);
});

test('a stream that fails, or closes before its end, fails its reader', async () => {
  for (const reason of [new Error('gone'), undefined]) {
    const stream = new PassThrough();
    const reader = new ChunkReader(stream);
    const asked = reader.next();
    stream.destroy(reason);
    await assert.rejects(asked, reason ?? { code: 'ERR_STREAM_PREMATURE_CLOSE' });
    await assert.rejects(reader.next());
  }
});
