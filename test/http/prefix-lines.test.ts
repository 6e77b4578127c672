import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prefixLines } from '../../src/http/answer/prefix-lines.ts';

async function prefixed(...pieces: readonly string[]): Promise<string> {
  const given = async function* (): AsyncGenerator<Buffer> {
    for (const piece of pieces) yield Buffer.from(piece);
  };
  return (await Array.fromAsync(prefixLines('v1 | ', given()))).join('');
}

test('each line is behind its prefix, however it comes; a last one without an end gets one', async () => {
  assert.equal(await prefixed('a\nb', 'c\n', '\nd'), 'v1 | a\nv1 | bc\nv1 | \nv1 | d\n');
  const long = 'x'.repeat(64 * 1024);
  assert.equal(await prefixed(long, 'y\n'), `v1 | ${long}\nv1 | y\n`);
});

test('what is written over a line in a terminal does not hide which build it is of', async () => {
  assert.equal(await prefixed('10%\r20%\r\n'), 'v1 | 10%\rv1 | 20%\r\n');
  assert.equal(await prefixed('a\r\rv2 | b\n'), 'v1 | a\r\rv1 | v2 | b\n');
});
