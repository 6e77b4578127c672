import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import type { FailureClass } from '../../src/model/failure-class.ts';
import { build, type TestService } from './harness.ts';

/** A build that fails, and what its verdict says. */
export type FailureCase = readonly [what: string, dockerfile: string, expected: FailureClass, says: RegExp];

export function testFailures(service: TestService, cases: readonly FailureCase[]): void {
  // Two at once, as one alone leaves processors idle.
  describe('the class of a failure is told by evidence', { concurrency: 2 }, () => {
    for (const [what, Dockerfile, expected, says] of cases)
      test(`${expected}: ${what}`, async () => {
        const { body, id } = await build(service, { Dockerfile });
        const { verdict } = await service.builds.get(localAdmin, id);
        assert.equal(verdict?.failureClass, expected, `${body}\n${JSON.stringify(verdict)}`);
        assert.match(verdict.message, says);
      });
  });
}
