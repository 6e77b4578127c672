import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Receptions } from '../../src/builds/receptions.ts';
import { KilnError } from '../../src/model/error.ts';

const full = { code: 'NO_CAPACITY' };
const MiB = 1024 * 1024;

test('where there is no room for one more, the slowest of those that crawl gives way to it', async () => {
  const receptions = new Receptions({ maxAtOnce: 3, graceMs: 20 });
  const [slow, slowest, fast] = [1000, 10, MiB].map((bytes) => receptions.enter(() => bytes));
  assert.throws(() => receptions.enter(() => 0), full, 'nobody has had his time yet');
  await sleep(30);
  using next = receptions.enter(() => 0);
  assert.equal(KilnError.from(slowest?.signal.reason).code, 'UPLOAD_TIMEOUT');
  assert.deepEqual([slow?.signal.aborted, fast?.signal.aborted, next.signal.aborted], [false, false, false]);
  using _last = receptions.enter(() => 0);
  assert.deepEqual([slow?.signal.aborted, fast?.signal.aborted], [true, false]);
  assert.throws(() => receptions.enter(() => 0), full, 'what is fast gives way to nobody');
  for (const gone of [slow, slowest]) gone?.[Symbol.dispose]();
  assert.throws(() => receptions.enter(() => 0), full, 'who gave way has no place to give back');
  for (let time = 0; time < 2; time += 1) fast?.[Symbol.dispose]();
  using _other = receptions.enter(() => 0);
  assert.throws(() => receptions.enter(() => 0), full);
});

test('who has sent everything, and waits for kiln, gives way to nobody', async () => {
  const receptions = new Receptions({ maxAtOnce: 1, graceMs: 0 });
  using whole = receptions.enter(() => null);
  await sleep(10);
  assert.throws(() => receptions.enter(() => 0), full);
  assert.equal(whole.signal.aborted, false);
});
