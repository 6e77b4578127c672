import type { Accelerator } from '../model/build.ts';
import type { Readiness } from '../model/builds.ts';
import type { PoolStatus } from '../pool/pool.ts';

export type ReadinessSource = {
  readonly scheduler: { readonly status: ReadonlyMap<string, PoolStatus>; readonly waiting: number };
  /** By entry. */
  readonly kept: ReadonlyMap<string, { readonly warm: number }>;
  readonly maxVms: number;
  readonly queueLimit: number;
  readonly accelerator: { readonly name: Accelerator; readonly note: string | null };
  /** The archive entry of builds that ask for none: the service is ready when it is. */
  readonly entry: string;
};

const untried: PoolStatus = {
  ...{ warm: 0, frozen: 0, leased: 0, starting: 0, ending: 0 },
  ...{ proven: false, problem: null },
};

/** Whether a build that came now would get a VM, and on what it would run. */
export function describeReadiness(source: ReadinessSource, draining: boolean): Readiness {
  const { scheduler, kept } = source;
  const { warm, leased, proven, problem } = scheduler.status.get(source.entry) ?? untried;
  const sizeOf = (entry: string): number => kept.get(entry)?.warm ?? 0;
  // Between two VMs there may be none: what counts is that the last attempt to make one succeeded.
  const able = warm + leased > 0 || proven || (sizeOf(source.entry) === 0 && problem === null);
  const reason = draining
    ? 'The service is stopping.'
    : able
      ? null
      : (problem ?? 'The first VM is starting.');
  const pools = [...scheduler.status].map(([entry, status]) => ({
    ...{ entry, warm: status.warm, frozen: status.frozen, leased: status.leased },
    ...{ starting: status.starting, size: sizeOf(entry) },
  }));
  const sum = (count: (pool: (typeof pools)[number]) => number): number =>
    pools.reduce((all, pool) => all + count(pool), 0);
  return {
    ready: reason === null,
    reason,
    draining,
    entry: source.entry,
    accelerator: source.accelerator,
    pool: {
      warm: sum((pool) => pool.warm),
      frozen: sum((pool) => pool.frozen),
      leased: sum((pool) => pool.leased),
      starting: sum((pool) => pool.starting),
      size: sum((pool) => pool.size),
      max: source.maxVms,
    },
    pools,
    queue: { waiting: scheduler.waiting, limit: source.queueLimit },
  };
}
