import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { findFirstDifference } from '../../src/logs/first-difference.ts';
import type { LogDifference } from '../../src/model/matrix.ts';
import { heapBytes } from '../heap-bytes.ts';

async function* inChunks(text: string): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 777) yield bytes.subarray(at, at + 777);
}

const compare = (log: string, reference: string): Promise<LogDifference | null> =>
  findFirstDifference(inChunks(log), inChunks(reference));

const reference = `#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 80B 0.1s done
#1 DONE 0.2s

#4 [1/2] FROM docker.io/library/busybox@sha256:abc
#4 sha256:${'a'.repeat(64)} 1.05MB / 2.10MB 0.2s
#4 DONE 0.4s

#5 [2/2] RUN go version
#5 0.123 go 1.17
#5 DONE 0.9s
`;

test('times, numbers and order of steps and the progress of transfers are no difference', async () => {
  const again = `#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 80B done
#1 DONE 0.0s

#6 [2/2] RUN go version
#6 12.9 go 1.17

#3 [1/2] FROM docker.io/library/busybox@sha256:abc
#3 sha256:${'a'.repeat(64)} 2.10MB / 2.10MB 1.2s done
#3 DONE 4s
`;
  assert.equal(await compare(again, reference), null);
  assert.equal(await compare(reference, again), null);
});

test('the first line that the other lacks is told with its number; then the first that it lacks itself', async () => {
  const other = reference.replace('go 1.17', 'go 1.24');
  const own = { of: 'own', line: 10, text: '#5 0.123 go 1.24' };
  assert.deepEqual(await compare(other, reference), own);
  const shorter = reference.slice(0, reference.indexOf('#5'));
  const lacking = { of: 'first', line: 9, text: '#5 [2/2] RUN go version' };
  assert.deepEqual(await compare(shorter, reference), lacking);
  const error = `${shorter}error: failed to solve: no\n`;
  assert.deepEqual(await compare(error, reference), {
    of: 'own',
    line: 9,
    text: 'error: failed to solve: no',
  });
});

test('what lies beyond the compared bytes is not read, and a shown line is short', async () => {
  let read = 0;
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      read += 1024 * 1024;
      yield Buffer.alloc(1024 * 1024, '#1 the same\n');
    }
  }
  assert.equal(await findFirstDifference(endless(), endless()), null);
  assert.ok(read <= 2 * 2 * 1024 * 1024, `${read} bytes were read`);
  const found = await compare(`#1 ${'x'.repeat(5000)}\n`, '');
  assert.equal(found?.text.length, 200);
});

test('no line, however long and whatever is in it, takes long or holds up others', async () => {
  const long = `#5 0.1 ${'1'.repeat(900_000)}x\n`;
  const delay = monitorEventLoopDelay();
  delay.enable();
  assert.equal((await compare(long, long.replace('x', 'y')))?.line, 1);
  assert.equal(await compare('\n'.repeat(1024 * 1024), '\n'), null);
  delay.disable();
  assert.ok(delay.max < 2e9, `the event loop stood still for ${delay.max / 1e9} s`);
});

test('a line that the compared bytes end within is not compared', async () => {
  const many = '#1 the same\n'.repeat(100_000);
  assert.equal(await compare(many, `\n${many}`), null);
});

test('what is found holds no log', async () => {
  const found: (LogDifference | null)[] = [];
  const before = heapBytes();
  for (let run = 0; run < 50; run += 1)
    found.push(await compare(`#1 ${run} ${'x'.repeat(300)}\n${'#1 the same\n'.repeat(80_000)}`, ''));
  assert.ok(heapBytes() - before < 10 * 1024 * 1024);
  assert.equal(found[49]?.text.length, 200);
});
