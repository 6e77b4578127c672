import assert from 'node:assert/strict';
import type { Logger } from '../../src/lib/logger.ts';
import type { FrozenPooledVm, Lease, PooledVm, PoolStatus } from '../../src/pool/pool.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';

/** A scheduler of one entry. */
export type OneEntry<V extends PooledVm> = {
  readonly scheduler: Scheduler<V>;
  readonly status: PoolStatus;
  readonly start: () => void;
  readonly acquire: (signal: AbortSignal) => Promise<Lease<V>>;
  readonly close: () => Promise<void>;
};

const theEntry = 'buildkit-v0.20.2';

export function scheduleOne<V extends PooledVm>(options: {
  create: (signal: AbortSignal) => Promise<FrozenPooledVm<V>>;
  logger: Logger;
  size: number;
  frozen: number;
  max: number;
  limit?: number;
  onLease?: (entry: string, waitedSeconds: number) => void;
}): OneEntry<V> {
  const { create, logger, size, frozen, max, limit = 100, onLease } = options;
  const scheduler = new Scheduler<V>({
    ...{ logger, max, limit, create: (_entry, signal) => create(signal) },
    ...(onLease && { onLease }),
    kept: new Map([[theEntry, { warm: size, frozen }]]),
  });
  return {
    scheduler,
    get status() {
      return scheduler.status.get(theEntry) ?? assert.fail('it is kept');
    },
    start: () => scheduler.start(),
    acquire: async (signal) =>
      scheduler.enter({ entry: theEntry, tenant: 'default', signal, onPlace: () => undefined }),
    close: () => scheduler.close(),
  };
}
