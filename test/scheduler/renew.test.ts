import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PooledVm } from '../../src/pool/pool.ts';
import { asleep } from './asleep.ts';
import { createFactory, settle } from './counted-vms.ts';
import { scheduleOne } from './schedule-one.ts';

const signal = new AbortController().signal;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

test('after an image was replaced nobody gets a VM of the old one, not even one that was being made; leases keep theirs (simulated VMs)', async () => {
  const factory = createFactory();
  const making: PromiseWithResolvers<void>[] = [];
  let free = false;
  const create = async (): Promise<PooledVm> => {
    const gate = Promise.withResolvers<void>();
    making.push(gate);
    if (!free) await gate.promise;
    return factory.create();
  };
  const pool = scheduleOne({ size: 2, frozen: 0, max: 4, create: asleep(create), logger });
  const open = async (count: number): Promise<void> => {
    while (making.length < count) await sleep(1);
    making[count - 1]?.resolve();
  };
  pool.start();
  await open(1);
  await using lease = await pool.acquire(signal);
  await open(2);
  await settle(pool, 1);
  while (making.length < 3) await sleep(1);
  pool.scheduler.renew('buildkit-v0.20.2');
  assert.equal(pool.status.warm, 0);
  const next = pool.acquire(signal);
  await open(3);
  await open(4);
  await using renewed = await next;
  assert.deepEqual([lease.vm.id, renewed.vm.id], ['vm-1', 'vm-4']);
  assert.deepEqual([...factory.alive], ['vm-1', 'vm-4']);
  free = true;
  for (const gate of making) gate.resolve();
  await lease[Symbol.asyncDispose]();
  await renewed[Symbol.asyncDispose]();
  await pool.close();
  assert.equal(factory.alive.size, 0);
});
