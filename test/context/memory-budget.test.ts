import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accept, refuseWith } from './staging.ts';
import { file, gnuLong, raw, symlink, tar, withXattr } from './tar.ts';

const masses: readonly (readonly [what: string, count: number, member: (index: number) => Buffer])[] = [
  ['names', 8300, (index) => longName(index)],
  ['names of Unicode', 8300, (index) => longName(index, 'ü')],
  [
    'link targets',
    8300,
    (index) => Buffer.concat([gnuLong('K', 't'.repeat(4090)), raw(symlink(`${index}`, 'x'))]),
  ],
  ['extended attributes', 560, (index) => withXattr(`${index}`, 60_000)],
];
for (const [what, count, member] of masses) {
  test(`${what} that no context needs in such a mass are refused before they fill the memory`, async () => {
    const error = await refuseWith(
      'ARCHIVE_TOO_LARGE',
      tar(...Array.from({ length: count }, (_, i) => member(i))),
    );
    assert.equal(error.details.limit, 32 * 1024 * 1024);
  });
}

test('names that have their folders in common count once', async () => {
  const folder = `${'n'.repeat(254)}/`.repeat(15);
  const members = Array.from({ length: 9000 }, (_, index) =>
    Buffer.concat([gnuLong('L', `${folder}${index}`), raw(file('x'))]),
  );
  assert.equal((await accept(tar(...members))).entries, 9000);
});

/** Of 4095 bytes in 16 parts, which no other has. */
function longName(index: number, filler = 'n'): Buffer {
  const part = `${index}-`.padEnd(8, '-') + filler.repeat(Math.floor(246 / Buffer.byteLength(filler)));
  return Buffer.concat([gnuLong('L', Array(16).fill(part).join('/')), raw(file('x'))]);
}
