import assert from 'node:assert/strict';
import { type Caller, localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { Assertion } from './contract.ts';

const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM scratch\n') };
const other = '019a0000-0000-7000-8000-0000000000ff';
const reader: Caller = { ...localAdmin, role: 'read' };
const stranger: Caller = { tenant: 'other', role: 'admin' };

/** What the edges take for granted of matrices. */
export const matrixAssertions: readonly Assertion[] = [
  [
    'a matrix is found by its id, belongs to the tenant that started it, and is cancelled with all of its builds',
    'goes on',
    async (builds) => {
      const entries = ['buildkit-v0.20.2'];
      builds.check(localAdmin, { ...request, entries });
      const { id, state, builds: made } = await builds.startMatrix(localAdmin, { ...request, entries });
      assert.deepEqual([state, made.map(({ entry }) => entry)], ['running', entries]);
      assert.equal((await builds.matrix(reader, id)).id, id);
      await rejects(builds.matrix(stranger, id), 'NOT_FOUND');
      await rejects(builds.cancelMatrix(stranger, id, 'x'), 'NOT_FOUND');
      await rejects(builds.matrix(localAdmin, other), 'NOT_FOUND');
      await rejects(builds.matrix(localAdmin, '../x'), 'NOT_FOUND');
      await rejects(builds.cancelMatrix(reader, id, 'x'), 'ROLE_TOO_LOW');
      const cancelled = await builds.cancelMatrix(localAdmin, id, 'Enough.');
      assert.deepEqual([cancelled.state, cancelled.builds[0]?.state], ['failed', 'cancelled']);
      await rejects(builds.cancelMatrix(localAdmin, id, 'Again.'), 'BUILD_TERMINAL');
    },
  ],
  [
    'a matrix names each entry once, and no more than are taken',
    'succeeds',
    async (builds) => {
      const refused: readonly (readonly [readonly string[], string])[] = [
        [['buildkit-v0.20.2', 'buildkit-v0.20.2'], 'PARAM_INVALID'],
        [['buildkit-v0.20.2', 'buildkit-v0.1.0'], 'BUILDKIT_UNKNOWN'],
        [Array.from({ length: 17 }, () => 'buildkit-v0.20.2'), 'PARAM_INVALID'],
        [[], 'PARAM_INVALID'],
      ];
      for (const [entries, code] of refused) {
        assert.throws(() => builds.check(localAdmin, { ...request, entries }), { code });
        await rejects(builds.startMatrix(localAdmin, { ...request, entries }), code);
      }
    },
  ],
];

function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(promise, { code });
}
