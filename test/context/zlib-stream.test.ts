import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInflateRaw, deflateRawSync } from 'node:zlib';
import { decodeStream } from '../../src/context/compression/zlib-stream.ts';
import { heapBytes } from '../heap-bytes.ts';

test('what was fed in small chunks leaves nothing in memory, for as long as the stream lasts', async () => {
  // All of it is one literal run: each byte in is a byte out, at the end of the block.
  const chunks = 100_000;
  const bytes = deflateRawSync(Buffer.alloc(chunks, 'x'), { level: 0 });
  let first = 0;
  let grown = 0;
  async function* bytewise(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 1) {
      if (at === 1000) first = heapBytes();
      if (at === chunks - 1) grown = heapBytes() - first;
      yield bytes.subarray(at, at + 1);
    }
  }
  let length = 0;
  for await (const chunk of decodeStream(createInflateRaw({ chunkSize: 256 * 1024 }), bytewise()))
    length += chunk.length;
  assert.equal(length, chunks);
  assert.ok(grown < 4 * 1024 * 1024, `${grown} bytes are held of ${chunks} chunks`);
});
