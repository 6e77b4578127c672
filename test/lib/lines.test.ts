import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitLines } from '../../src/lib/lines.ts';
import { heapBytes } from '../heap-bytes.ts';

test('lines are the same however their bytes come', async () => {
  const bytes = Buffer.from('one\n\nthree is longer\nlast without an end');
  for (let size = 1; size <= bytes.length; size += 1) {
    const lines: string[] = [];
    for await (const line of splitLines(cut(bytes, size), 100)) lines.push(line.toString());
    assert.deepEqual(lines, ['one', '', 'three is longer', 'last without an end']);
  }
});

test('a line that comes byte by byte takes no more memory than its bytes', async () => {
  const line = Buffer.alloc(120_000, 'x');
  const before = heapBytes();
  let held = 0;
  async function* measured(): AsyncGenerator<Buffer> {
    yield* cut(line, 1);
    held = heapBytes() - before;
  }
  for await (const whole of splitLines(measured(), line.length)) assert.ok(whole.equals(line));
  assert.ok(held < 4 * 1024 * 1024, `${held} bytes held`);
});

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
