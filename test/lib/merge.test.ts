import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { mergeIterables } from '../../src/lib/merge.ts';
import { liveMiB } from '../context/watch-memory.ts';

async function* give<T>(...items: readonly T[]): AsyncGenerator<T> {
  for (const item of items) {
    await setImmediate();
    yield item;
  }
}

/** A source that gives nothing and never ends by itself. */
function createSilent() {
  const source = {
    returned: 0,
    next: () => new Promise<IteratorResult<never>>(() => undefined),
    async return() {
      source.returned += 1;
      return { done: true as const, value: undefined };
    },
    [Symbol.asyncIterator]: () => source,
  };
  return source;
}

test('items of all sources come, each source in its own order, until all have ended', async () => {
  const items = await Array.fromAsync(
    mergeIterables([give('a1', 'a2', 'a3'), give<string>(), give('b1', 'b2')]),
  );
  assert.deepEqual([...items].sort(), ['a1', 'a2', 'a3', 'b1', 'b2']);
  for (const source of ['a', 'b']) {
    const own = items.filter((item) => item.startsWith(source));
    assert.deepEqual(own, [...own].sort());
  }
});

test('a source that is silent does not keep in memory what another one gives', async () => {
  async function* large(): AsyncGenerator<Buffer> {
    for (let count = 0; count < 2000; count += 1) yield Buffer.alloc(64 * 1024, 1);
  }
  const merged = mergeIterables<Buffer>([createSilent(), large()]);
  const before = liveMiB();
  for (let count = 0; count < 2000; count += 1) await merged.next();
  const grownMiB = liveMiB() - before;
  await merged.return(undefined);
  assert.ok(grownMiB < 8, `${grownMiB} MiB of 125 MiB are still held`);
});

test('leaving the loop returns every other source, and waits for none', async () => {
  const silent = createSilent();
  for await (const item of mergeIterables<string>([silent, give('only')])) {
    assert.equal(item, 'only');
    break;
  }
  assert.equal(silent.returned, 1);
});

test('a source that fails ends the loop with its error and returns the others', async () => {
  const silent = createSilent();
  async function* failing(): AsyncGenerator<string> {
    yield 'first';
    throw new Error('it failed');
  }
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const item of mergeIterables<string>([silent, failing()])) seen.push(item);
  }, /it failed/);
  assert.deepEqual(seen, ['first']);
  assert.equal(silent.returned, 1);
});

test('a source that fails in the moment in which another one gives is not overheard', async () => {
  const failing = { next: () => Promise.reject(new Error('it failed')) };
  const sources = [give('a'), { [Symbol.asyncIterator]: () => failing }, give('b')];
  await assert.rejects(Array.fromAsync(mergeIterables<string>(sources)), /it failed/);
  const endless = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: 'a' }) }) };
  await assert.rejects(Array.fromAsync(mergeIterables<string>([endless, ...sources])), /it failed/);
});
