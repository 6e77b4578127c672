import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attempt } from '../../src/model/build.ts';
import { stretchesOf } from '../../src/model/stretches.ts';

const at = (seconds: number): string => new Date(Date.UTC(2026, 10, 28) + 1000 * seconds).toISOString();
const never = { queued: at(0), leased: null, contextReady: null, buildFinished: null, finished: null };
const lost = { code: 'INFRA', message: 'The VM went away.' } as const;

function attempt(number: number, started: number, rest: Partial<Attempt> = {}): Attempt {
  return {
    number,
    vm: `vm-${number}`,
    started: at(started),
    ended: null,
    seconds: null,
    error: null,
    ...rest,
  };
}

function say(
  ...[attempts, times]: [readonly Attempt[], Partial<typeof never> | Record<string, string>]
): string {
  return stretchesOf({ attempts, times: { ...never, ...times } })
    .map(({ name, attempt, start, end }) => `${name} ${attempt}: ${(end - start) / 1000}`)
    .join(', ');
}

const cases = {
  'a build that ran to its end': [
    say([attempt(1, 2)], { leased: at(2), contextReady: at(3), buildFinished: at(7), finished: at(8) }),
    'queue 1: 2, lease 1: 1, run 1: 4, artifact 1: 1',
  ],
  'one that ended while it ran': [
    say([attempt(1, 2)], { leased: at(2), contextReady: at(3), finished: at(10) }),
    'queue 1: 2, lease 1: 1, run 1: 7',
  ],
  'one that ended before its context was there': [
    say([attempt(1, 2)], { leased: at(2), finished: at(5) }),
    'queue 1: 2, lease 1: 3',
  ],
  'one that was cancelled in the line': [say([], { finished: at(4) }), 'queue 1: 4'],
  'one whose first VM was lost': [
    say([attempt(1, 1, { ended: at(4), error: lost }), attempt(2, 6)], {
      ...{ leased: at(6), contextReady: at(7), buildFinished: at(9), finished: at(9) },
    }),
    'queue 1: 1, lost 1: 3, queue 2: 2, lease 2: 1, run 2: 2, artifact 2: 0',
  ],
  'one that ended in the line after its first VM was lost': [
    say([attempt(1, 1, { ended: at(4), error: lost })], { finished: at(5) }),
    'queue 1: 1, lost 1: 3, queue 2: 1',
  ],
  'one during which the clock was set back': [
    say([attempt(1, -5)], { leased: at(-5), contextReady: at(-4), buildFinished: at(2), finished: at(3) }),
    'queue 1: 0, lease 1: 0, run 1: 2, artifact 1: 1',
  ],
  'one that has not ended': [say([attempt(1, 2)], { leased: at(2) }), ''],
};

for (const [title, [got, expected]] of Object.entries(cases))
  test(`the stretches of ${title}`, () => assert.equal(got, expected));
