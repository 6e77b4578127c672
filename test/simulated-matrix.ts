import { checkEntries, type RequestRules } from '../src/builds/check-request.ts';
import type { BuildRecord } from '../src/model/build.ts';
import type { Builds } from '../src/model/builds.ts';
import { requireRole } from '../src/model/caller.ts';
import { KilnError } from '../src/model/error.ts';
import { matrixState } from '../src/model/matrix.ts';

export const matrixId = '019a0000-0000-7000-8000-0000000000aa';

/** One matrix, of which each build is the one there is. */
export function simulateMatrix({
  record,
  rules,
  simulated,
}: {
  record: () => BuildRecord;
  rules: RequestRules;
  simulated: () => Pick<Builds, 'start' | 'cancel'>;
}): Pick<Builds, 'startMatrix' | 'matrix' | 'cancelMatrix'> {
  let entries: readonly string[] = [];
  const matrix: Builds['matrix'] = async ({ tenant }, id) => {
    if (id !== matrixId || entries.length === 0 || tenant !== record().tenant)
      throw new KilnError('NOT_FOUND', 'There is no matrix with this id.');
    const { id: buildId, state, imageDigest } = record();
    const rest = { id: buildId, state, seconds: 8.1, imageDigest, firstDifference: null };
    const builds = entries.map((entry) => ({ entry, ...rest }));
    return { id, state: matrixState(builds), builds };
  };
  return {
    matrix,
    async startMatrix(caller, { entries: asked, ...request }) {
      checkEntries(asked, rules);
      await simulated().start(caller, request);
      entries = asked;
      return matrix(caller, matrixId);
    },
    async cancelMatrix(caller, id, reason) {
      requireRole(caller, 'build');
      await matrix(caller, id);
      await simulated().cancel(caller, record().id, reason);
      return matrix(caller, id);
    },
  };
}
