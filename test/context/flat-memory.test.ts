import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Staging } from './staging.ts';
import { type LargeContext, stageLarge } from './watch-memory.ts';

const MiB = 1024 * 1024;
/** Of the processor time of the whole staging: milliseconds would judge the machine. `npm run bench` has those. */
const maxTurnShare = 0.25;

/** Live memory of 200 000 names is about 50 MiB; the rest is what V8 lets its heap grow meanwhile. */
const contexts: readonly (LargeContext & { readonly name: string; readonly maxRssMiB: number })[] = [
  { name: 'of 2 GiB', bytes: 2048 * MiB, members: 20_000, layout: 'nested', maxRssMiB: 64 },
  { name: 'of 200 000 members', bytes: 0, members: 200_000, layout: 'nested', maxRssMiB: 192 },
  { name: 'of 200 000 files in one folder', bytes: 0, members: 200_000, layout: 'flat', maxRssMiB: 192 },
];

for (const { name, maxRssMiB, ...context } of contexts) {
  test(`a context ${name} raises RSS by at most ${maxRssMiB} MiB and no turn of the event loop is a large part of the work`, async (t) => {
    await using staging = await Staging.create();
    // A service that has taken such a number of files before: what a heap grows to for its first is no matter of size.
    await stageLarge(staging, { ...context, bytes: 64 * MiB, members: Math.min(context.members, 20_000) });
    const { staged, ...figures } = await stageLarge(staging, context);
    t.diagnostic(JSON.stringify(figures));
    if (staged instanceof Error) throw staged;
    assert.equal(staged.summary.entries, context.members + (context.bytes > 0 ? 1 : 0));
    assert.ok(figures.rssMiB <= maxRssMiB, JSON.stringify(figures));
    assert.ok(figures.longestTurnShare <= maxTurnShare, JSON.stringify(figures));
  });
}
