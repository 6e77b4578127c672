import type { Accelerator } from '../model/build.ts';
import type { Readiness } from '../model/builds.ts';
import type { PoolStatus } from '../pool/pool.ts';

export type ReadinessSource = {
  readonly scheduler: { readonly status: ReadonlyMap<string, PoolStatus>; readonly waiting: number };
  readonly poolSize: number;
  readonly maxVms: number;
  readonly queueLimit: number;
  readonly accelerator: { readonly name: Accelerator; readonly note: string | null };
  /** The archive entry that is served. */
  readonly entry: string;
};

const untried: PoolStatus = {
  ...{ warm: 0, frozen: 0, leased: 0, starting: 0, ending: 0 },
  ...{ proven: false, problem: null },
};

/** Whether a build that came now would get a VM, and on what it would run. */
export function describeReadiness(source: ReadinessSource, draining: boolean): Readiness {
  const { scheduler, poolSize } = source;
  const { warm, frozen, leased, starting, proven, problem } = scheduler.status.get(source.entry) ?? untried;
  // Between two VMs there may be none: what counts is that the last attempt to make one succeeded.
  const able = warm + leased > 0 || proven || (poolSize === 0 && problem === null);
  const reason = draining
    ? 'The service is stopping.'
    : able
      ? null
      : (problem ?? 'The first VM is starting.');
  return {
    ready: reason === null,
    reason,
    draining,
    entry: source.entry,
    accelerator: source.accelerator,
    pool: { warm, frozen, leased, starting, size: poolSize, max: source.maxVms },
    queue: { waiting: scheduler.waiting, limit: source.queueLimit },
  };
}
