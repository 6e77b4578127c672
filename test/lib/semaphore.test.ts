import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Semaphore } from '../../src/lib/semaphore.ts';

test('who gives up waiting for a permit takes none, and those behind keep their order', async () => {
  const semaphore = new Semaphore(1);
  const held = await semaphore.acquire();
  const abort = new AbortController();
  const entered: string[] = [];
  const enter = async (name: string, signal?: AbortSignal): Promise<void> => {
    using _permit = await semaphore.acquire(signal);
    entered.push(name);
  };
  const impatient = enter('impatient', abort.signal);
  const others = [enter('second', new AbortController().signal), enter('third')];
  abort.abort(new Error('gone'));
  await assert.rejects(impatient, /gone/);
  assert.deepEqual(entered, []);
  held[Symbol.dispose]();
  await Promise.all(others);
  assert.deepEqual(entered, ['second', 'third']);
  await assert.rejects(semaphore.acquire(abort.signal), /gone/);
  await enter('last');
});
