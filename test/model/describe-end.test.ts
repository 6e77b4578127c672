import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildRecord } from '../../src/model/build.ts';
import { describeEnd } from '../../src/model/describe-end.ts';

const at = (second: number | null): string | null =>
  second === null ? null : new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();

for (const [title, state, [queued, leased, finished], said] of [
  [
    'the wait in the queue and the time in the VM, apart',
    'succeeded',
    [0, 258.9, 267],
    'succeeded in 8.1 s, after 258.9 s in the queue',
  ],
  ['no wait where there was none', 'succeeded', [0, 0.4, 2.8], 'succeeded in 2.4 s'],
  ['why it did not succeed', 'failed', [0, 5, 6], 'failed after 1.0 s and 5.0 s in the queue: why'],
  ['a build that never got a VM', 'cancelled', [0, null, 12], 'cancelled after 12.0 s in the queue: why'],
  ['a build whose times are lost', 'interrupted', [0, null, null], 'interrupted: why'],
] as const) {
  test(`how a build ended: ${title}`, () => {
    const times: BuildRecord['times'] = {
      ...{ queued: at(queued), leased: at(leased), finished: at(finished) },
      ...{ contextReady: null, buildFinished: null },
    };
    const verdict = { state, exitCode: null, code: null, failureClass: null, message: 'why' };
    assert.equal(describeEnd({ state, verdict, times }), said);
  });
}
