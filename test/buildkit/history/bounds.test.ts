import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptBytes } from '../../../src/buildkit/history/kept-bytes.ts';
import { PlainProgress } from '../../../src/buildkit/history/plain-progress.ts';
import { Received } from '../../../src/buildkit/history/received.ts';
import { type SolveStatus, statusSchema } from '../../../src/buildkit/history/solve-status.ts';
import { StepNumbers } from '../../../src/buildkit/history/step-numbers.ts';
import { heapBytes } from '../../heap-bytes.ts';

const mebi = 1024 * 1024;
/** From JSON, as it comes: no text is a part of another. */
const fresh = (message: object): object => JSON.parse(JSON.stringify(message));
const statusOf = (message: object): SolveStatus => statusSchema.parse(fresh(message));
const logOf = (vertex: string, text = 'x'): object => ({
  ...{ vertex, timestamp: '', data: Buffer.from(text).toString('base64') },
});

test('steps and items of any length and number take bounded memory', () => {
  const received = new Received(new KeptBytes());
  const before = heapBytes();
  for (let index = 0; index < 40; index += 1) {
    const long = index + 'x'.repeat(mebi);
    received.add(fresh({ vertexes: [{ digest: long }] }));
    received.add(fresh({ statuses: [{ vertex: 'a', id: long, completed: '' }] }));
  }
  for (let index = 0; index < 40_000; index += 1) {
    const statuses = [{ vertex: `v${index % 9}`, id: index + 'y'.repeat(1000), completed: '' }];
    received.add(fresh({ statuses }));
  }
  const held = heapBytes() - before;
  received.add({});
  assert.ok(held < 24 * mebi, `${held} bytes held`);
});

test('of a step in the history only what is written is kept, and not of more steps than a build has', () => {
  const progress = new PlainProgress(new StepNumbers(new KeptBytes()), new KeptBytes());
  const before = heapBytes();
  for (let index = 0; index < 12_000; index += 1)
    progress.learn(
      statusOf({ vertexes: [{ digest: `d${index}`, name: 'n', junk: index + 'z'.repeat(4000) }] }),
    );
  const held = heapBytes() - before;
  assert.ok(held < 16 * mebi, `${held} bytes held`);
  assert.notEqual([...progress.write(statusOf({ logs: [logOf('d1')] }), new Map())].join(''), '');
  assert.equal([...progress.write(statusOf({ logs: [logOf('d11999')] }), new Map())].join(''), '');
});

test('a long name is written shortened, and what a status says in parts that a reader can stop', () => {
  const progress = new PlainProgress(new StepNumbers(new KeptBytes()), new KeptBytes());
  const name = 'n'.repeat(mebi);
  progress.learn(
    statusOf({
      vertexes: [
        { digest: 'a', name: `${name}1`, started: '', completed: '', error: name },
        { digest: 'b', name: `${name}2` },
      ],
    }),
  );
  const logs = Array.from({ length: 20 }, (_, index) => logOf(index % 2 ? 'a' : 'b'));
  const parts = [...progress.write(statusOf({ logs }), new Map())];
  assert.equal(parts.length, logs.length);
  const longest = Math.max(...parts.map((part) => part.length));
  assert.ok(longest < 10_000, `${longest} bytes at once`);
  assert.match(parts[0] ?? '', /^\n#1 nn/);
  assert.match(parts[1] ?? '', /^\n#1 \.\.\.\n\n#2 nn/);
});

test('a log of many short lines is put into lines in parts', () => {
  const progress = new PlainProgress(new StepNumbers(new KeptBytes()), new KeptBytes());
  progress.learn(statusOf({ vertexes: [{ digest: 'a', name: 'a' }] }));
  const text = 'ab\n'.repeat(mebi / 8);
  const parts = [...progress.write(statusOf({ logs: [logOf('a', text)] }), new Map())];
  assert.ok(parts.length > 4 && parts.length < 10, `${parts.length} parts`);
  assert.equal(parts.join(''), `\n#1 a\n${text.replaceAll('ab', '#1 0.000 ab')}`);
});

test('a name in the log is kept without the text around it, and a very long one not at all', () => {
  const numbers = new StepNumbers(new KeptBytes());
  const before = heapBytes();
  for (let index = 1; index <= 1000; index += 1)
    numbers.add(Buffer.from(`\n\n#${index} a step with a name ${index}\n${'f'.repeat(32_000)}`));
  const held = heapBytes() - before;
  assert.ok(held < 4 * mebi, `${held} bytes held`);
  assert.equal(numbers.of('a step with a name 7'), 7);
  const long = 'n'.repeat(5000);
  numbers.add(Buffer.from(`\n\n#1001 ${long}\n`));
  assert.equal(numbers.of(long), 1002);
});
