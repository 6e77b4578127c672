import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chooseRemovals, type KeptBuild } from '../../src/builds/retention-policy.ts';

const build = (id: string, bytes: number, digest?: string, artifactBytes = 0): KeptBuild => ({
  ...{ id, bytes },
  artifact: digest === undefined ? null : { digest: `sha256:${digest}`, bytes: artifactBytes },
});
const names = (removed: readonly KeptBuild[]): string => removed.map(({ id }) => id).join('');

const three = [build('a', 10), build('b', 10), build('c', 10)];
const shared = [build('a', 1, 'x', 100), build('b', 1, 'y', 50), build('c', 1, 'x', 100)];

const rows = [
  { title: 'all within the limits stay', kept: three, maxBuilds: 3, maxBytes: 30, missing: 0, gone: '' },
  { title: 'too many: the oldest go', kept: three, maxBuilds: 2, maxBytes: 30, missing: 0, gone: 'a' },
  { title: 'too large: the oldest go', kept: three, maxBuilds: 3, maxBytes: 29, missing: 0, gone: 'a' },
  {
    title: 'the last one stays, however large',
    kept: three,
    maxBuilds: 1,
    maxBytes: 5,
    missing: 0,
    gone: 'ab',
  },
  { title: 'no room: the oldest go', kept: three, maxBuilds: 9, maxBytes: 99, missing: 11, gone: 'ab' },
  {
    title: 'no room at all: the last one too',
    kept: three,
    maxBuilds: 9,
    maxBytes: 99,
    missing: 30,
    gone: 'abc',
  },
  {
    title: 'what would not help is not done',
    kept: three,
    maxBuilds: 9,
    maxBytes: 99,
    missing: 31,
    gone: '',
  },
  {
    title: 'but the limits hold all the same',
    kept: three,
    maxBuilds: 2,
    maxBytes: 99,
    missing: 31,
    gone: 'a',
  },
  { title: 'a shared artifact counts once', kept: shared, maxBuilds: 9, maxBytes: 153, missing: 0, gone: '' },
  {
    title: 'and is freed with its last build',
    kept: shared,
    maxBuilds: 9,
    maxBytes: 99,
    missing: 60,
    gone: 'abc',
  },
  { title: 'nothing kept, nothing to remove', kept: [], maxBuilds: 1, maxBytes: 1, missing: 5, gone: '' },
];

for (const { title, kept, maxBuilds, maxBytes, missing, gone } of rows) {
  test(title, () => {
    const room = { wanted: missing, needed: missing };
    assert.equal(names(chooseRemovals(kept, { maxBuilds, maxBytes }, room)), gone);
  });
}

test('room that is wanted is made where it can be, else the room that is needed', () => {
  const limits = { maxBuilds: 9, maxBytes: 99 };
  assert.equal(names(chooseRemovals(three, limits, { wanted: 15, needed: 5 })), 'ab');
  assert.equal(names(chooseRemovals(three, limits, { wanted: 31, needed: 5 })), 'a');
  assert.equal(names(chooseRemovals(three, limits, { wanted: 15, needed: -5 })), 'ab');
  assert.equal(names(chooseRemovals(three, limits, { wanted: 31, needed: -5 })), '');
  assert.equal(names(chooseRemovals(three, limits, { wanted: -1, needed: -5 })), '');
});

/** What builds take up together. */
function bytesOf(builds: readonly KeptBuild[]): number {
  const artifacts = new Map(builds.map(({ artifact }) => [artifact?.digest, artifact?.bytes ?? 0]));
  return [...builds.map(({ bytes }) => bytes), ...artifacts.values()].reduce((sum, bytes) => sum + bytes, 0);
}

const size = fc.nat(1000);
const someBuilds = fc
  .tuple(fc.array(size, { minLength: 4, maxLength: 4 }), fc.array(fc.tuple(size, fc.option(fc.nat(3)))))
  .map(([artifactBytes, builds]) =>
    builds.map(([bytes, which], index) =>
      which === null
        ? build(String(index), bytes)
        : build(String(index), bytes, String(which), artifactBytes[which]),
    ),
  );

const someRoom = fc
  .tuple(fc.integer({ min: -1000, max: 20_000 }), fc.nat(2000))
  .map(([needed, more]) => ({ needed, wanted: needed + more }));

test('the oldest go, no more than needed, until all limits hold', () => {
  const limits = fc.record({ maxBuilds: fc.integer({ min: 1, max: 20 }), maxBytes: fc.nat(20_000) });
  fc.assert(
    fc.property(someBuilds, limits, someRoom, (kept, { maxBuilds, maxBytes }, room) => {
      const removed = chooseRemovals(kept, { maxBuilds, maxBytes }, room);
      assert.deepEqual(removed, kept.slice(0, removed.length));
      const all = bytesOf(kept);
      const missing = room.wanted <= all ? room.wanted : room.needed <= all ? room.needed : 0;
      const holds = (count: number): boolean => {
        const left = kept.slice(count);
        const isWithin = left.length <= 1 || (left.length <= maxBuilds && bytesOf(left) <= maxBytes);
        return isWithin && bytesOf(kept) - bytesOf(left) >= missing;
      };
      assert.ok(holds(removed.length));
      for (let count = 0; count < removed.length; count += 1) assert.ok(!holds(count), 'fewer would do');
    }),
    { numRuns: 1000 },
  );
});
