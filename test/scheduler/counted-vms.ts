import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PooledVm } from '../../src/pool/pool.ts';
import type { OneEntry } from './schedule-one.ts';

/** Simulated VMs: they only count. Real ones are in test/e2e. */
export function createFactory() {
  const alive = new Set<string>();
  const ends = new Map<string, (reason: string) => void>();
  let made = 0;
  let most = 0;
  const create = async (): Promise<PooledVm> => {
    await sleep(1);
    made += 1;
    const id = `vm-${made}`;
    alive.add(id);
    most = Math.max(most, alive.size);
    const gone = new Promise<string>((resolve) => ends.set(id, resolve));
    return { id, gone, [Symbol.asyncDispose]: async () => void alive.delete(id) };
  };
  return { create, alive, end: (id: string) => ends.get(id)?.('killed'), most: () => most };
}

export async function settle(pool: OneEntry<PooledVm>, warm: number): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (pool.status.warm !== warm) {
    assert.ok(performance.now() < deadline, `the pool never had ${warm} warm VMs`);
    await sleep(2);
  }
}
