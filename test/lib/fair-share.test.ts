import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FairShare, type Share } from '../../src/lib/fair-share.ts';
import type { Permit } from '../../src/lib/semaphore.ts';

/** Asks for so many; the permits are in the list as they are given. */
async function ask(share: Share, count: number, signal?: AbortSignal): Promise<Permit[]> {
  const given: Permit[] = [];
  for (let asked = 0; asked < count; asked += 1) {
    share.acquire(signal).then(
      (permit) => given.push(permit),
      () => undefined,
    );
  }
  await turn();
  return given;
}

const giveBack = async (given: Permit[], count: number): Promise<void> => {
  for (const permit of given.splice(0, count)) permit[Symbol.dispose]();
  await turn();
};

test('one member has its own part and what is common, and never what is of another', async () => {
  const all = new FairShare({ size: 16, members: 4, maxEach: 100 });
  const [greedy, late] = [all.join(), all.join()];
  const many = await ask(greedy, 30);
  assert.equal(many.length, 2 + 8);
  const few = await ask(late, 30);
  assert.equal(few.length, 2);
  await giveBack(few, 1);
  assert.equal(few.length, 2, 'its own part comes back to it');
});

test('what is common goes to who has least of those that wait, each in its own order', async () => {
  const all = new FairShare({ size: 16, members: 4, maxEach: 100 });
  const [greedy, late] = [all.join(), all.join()];
  const many = await ask(greedy, 100);
  const few = await ask(late, 100);
  for (let freed = 0; freed < 4; freed += 1) await giveBack(many, 1);
  assert.deepEqual([many.length, few.length], [6, 6]);
  await giveBack(many, 2);
  assert.deepEqual([many.length, few.length], [6, 6], 'none has more than its part of what two want');
});

test('nobody has more than one member may, whatever is free', async () => {
  const all = new FairShare({ size: 100, members: 1, maxEach: 3 });
  const given = await ask(all.join(), 10);
  assert.equal(given.length, 3);
  await giveBack(given, 1);
  assert.equal(given.length, 3);
});

test('who gives up waiting takes none', async () => {
  const all = new FairShare({ size: 1, members: 1, maxEach: 10 });
  const share = all.join();
  const [held] = await ask(share, 1);
  const abort = new AbortController();
  const impatient = share.acquire(abort.signal);
  const patient = share.acquire();
  abort.abort(new Error('gone'));
  await assert.rejects(impatient, /gone/);
  held?.[Symbol.dispose]();
  held?.[Symbol.dispose]();
  (await patient)[Symbol.dispose]();
  await assert.rejects(share.acquire(abort.signal), /gone/);
  assert.equal((await ask(share, 2)).length, 1);
});

test("the part of a member that is gone is another's once it holds nothing", async () => {
  const all = new FairShare({ size: 8, members: 2, maxEach: 100 });
  const [first, second] = [all.join(), all.join()];
  const held = await ask(first, 1);
  const many = await ask(second, 100);
  assert.deepEqual([held.length, many.length], [1, 6], 'two of its own and all that is common');
  first[Symbol.dispose]();
  const few = await ask(all.join(), 2);
  assert.equal(few.length, 0, 'what is gone still holds its part');
  await giveBack(held, 1);
  assert.deepEqual([few.length, many.length], [2, 6], 'who came too early has its part then');
});

test('a part that becomes free goes to who came first, with what it already holds counted as its own', async () => {
  const all = new FairShare({ size: 8, members: 2, maxEach: 100 });
  const [first, second, third] = [all.join(), all.join(), all.join()];
  const early = await ask(third, 2);
  const many = await ask(second, 6);
  assert.deepEqual([early.length, many.length], [2, 4]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await giveBack([], 0);
  assert.deepEqual([early.length, many.length], [2, 6], 'what was common before is common again');
  await giveBack(many, 6);
  await giveBack(early, 2);
  assert.equal((await ask(third, 100)).length, 6);
});

test('each has one of its own where there are as many as members', async () => {
  const all = new FairShare({ size: 5, members: 4, maxEach: 100 });
  const members = Array.from({ length: 4 }, () => all.join());
  const given = [];
  for (const member of members) given.push((await ask(member, 10)).length);
  assert.deepEqual(given, [2, 1, 1, 1]);
});

test('who has left asks in vain', async () => {
  const all = new FairShare({ size: 5, members: 4, maxEach: 100 });
  const member = all.join();
  member[Symbol.dispose]();
  await assert.rejects(member.acquire());
});
