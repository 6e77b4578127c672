import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KilnError } from '../../src/model/error.ts';
import { Staging } from './staging.ts';
import { liveMiB, stageLarge } from './watch-memory.ts';

const maxRssMiB = 128;
/** Of the processor time of the whole staging: milliseconds would judge the machine. `npm run bench` has those. */
const maxTurnShare = 0.25;

const masses: readonly (readonly [layout: string, members: number])[] = [
  ['empty files', 200_000],
  ['folders', 30_000],
  ['deep folders', 10_000],
  ['long names', 60_000],
  ['links', 60_000],
  ['xattrs', 60_000],
  ['links to links', 60_000],
  ['repeats', 30_000],
  ['sparse parts', 100],
  ['holes', 200],
];
for (const [layout, members] of masses) {
  test(`${members} members in a context of ${layout} raise RSS by at most ${maxRssMiB} MiB`, async (t) => {
    await using staging = await Staging.create();
    const { staged, ...figures } = await stageLarge(staging, { bytes: 0, members, layout });
    t.diagnostic(JSON.stringify(figures));
    if (staged instanceof Error) throw staged;
    assert.equal(staged.summary.entries, members);
    assert.ok(figures.rssMiB <= maxRssMiB, JSON.stringify(figures));
    assert.ok(figures.longestTurnShare <= maxTurnShare, JSON.stringify(figures));
  });
}

test('xattrs of 600 MB are refused before they fill the memory', async (t) => {
  await using staging = await Staging.create();
  const { staged, ...figures } = await stageLarge(staging, {
    bytes: 0,
    members: 10_000,
    layout: 'large xattrs',
  });
  t.diagnostic(JSON.stringify(figures));
  assert.ok(staged instanceof KilnError);
  assert.equal(staged.code, 'ARCHIVE_TOO_LARGE');
  assert.ok(figures.rssMiB <= maxRssMiB, JSON.stringify(figures));
});

test('what a build holds of its context while it waits has no names', async (t) => {
  await using staging = await Staging.create();
  await using contexts = new AsyncDisposableStack();
  const stage = async (): Promise<void> => {
    const { staged } = await stageLarge(staging, { bytes: 0, members: 10_000, layout: 'xattrs' });
    if (staged instanceof Error) throw staged;
    contexts.use(staged);
  };
  await stage();
  const before = liveMiB();
  for (let count = 0; count < 4; count += 1) await stage();
  const grown = liveMiB() - before;
  t.diagnostic(`${grown} MiB`);
  assert.ok(grown <= 4, `${grown} MiB`);
});

test('each upload gives its memory back: the eighth takes no more than the second', async (t) => {
  await using staging = await Staging.create();
  const rises: number[] = [];
  for (let count = 0; count < 8; count += 1) {
    const { staged, rssMiB } = await stageLarge(staging, { bytes: 0, members: 520, layout: 'large xattrs' });
    if (staged instanceof Error) throw staged;
    await staged[Symbol.asyncDispose]();
    rises.push(rssMiB);
  }
  t.diagnostic(rises.join(', '));
  const later = rises.slice(2).reduce((sum, rise) => sum + rise, 0);
  // Each holds 30 MiB of xattrs.
  assert.ok(later <= 64, `${later} MiB more after two uploads`);
});
