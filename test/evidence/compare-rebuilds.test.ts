import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareRebuilds, describeDifference, type Made } from '../../src/evidence/compare-rebuilds.ts';

const one: Made = {
  'binary buildkitd': 'aa'.repeat(32),
  'ctr layer 1': 'bb'.repeat(32),
  'ctr manifest': 'cc'.repeat(32),
  kernel: 'dd'.repeat(32),
  initrd: 'ee'.repeat(32),
  'disk.qcow2': 'ff'.repeat(32),
  'manifest.json': '00'.repeat(32),
};

test('two rebuilds that made the same differ in nothing', () => {
  assert.deepEqual(compareRebuilds(one, { ...one }), []);
});

test('what has a UUID and times of its own may differ; programs, layers and what is made of them may not', () => {
  const other = Object.fromEntries(Object.keys(one).map((name) => [name, '11'.repeat(32)]));
  const differences = compareRebuilds(one, other);
  const expected = differences.filter((difference) => difference.expected).map(({ name }) => name);
  assert.deepEqual(expected, ['disk.qcow2', 'manifest.json']);
  assert.equal(differences.length, Object.keys(one).length);
});

test('each difference is told in a line: what, both digests, and why', () => {
  const [disk] = compareRebuilds(one, { ...one, 'disk.qcow2': '12'.repeat(32) });
  assert.ok(disk);
  assert.equal(
    describeDifference(disk),
    'disk.qcow2 differs (ffffffffffff and 121212121212), as it may: a file system that was made anew, with a UUID, a hash seed and times of its own',
  );
  const [layer] = compareRebuilds(one, { ...one, 'ctr layer 1': '12'.repeat(32) });
  assert.ok(layer);
  assert.match(
    describeDifference(layer),
    /^ctr layer 1 differs \(\S+ and \S+\), and should not: it is made from pins/,
  );
});

test('what only one of them made, and what nobody knows, may not differ', () => {
  const differences = compareRebuilds({ kernel: 'a', odd: 'b' }, { odd: 'c' });
  assert.deepEqual(
    differences.map(({ name, expected }) => [name, expected]),
    [
      ['kernel', false],
      ['odd', false],
    ],
  );
  assert.match(describeDifference(differences[0] ?? assert.fail()), /\(a and none\)/);
});
