import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrozenPooledVm, PooledVm } from '../../src/pool/pool.ts';
import { asleep } from './asleep.ts';
import { createFactory, settle } from './counted-vms.ts';
import { type OneEntry, scheduleOne } from './schedule-one.ts';

const signal = new AbortController().signal;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

test('a VM is handed out once and destroyed at the end of its lease (simulated VMs)', async () => {
  const factory = createFactory();
  const pool = scheduleOne({ size: 2, frozen: 0, max: 4, create: asleep(factory.create), logger });
  pool.start();
  const seen = new Set<string>();
  for (let round = 0; round < 30; round += 1) {
    await using lease = await pool.acquire(signal);
    assert.ok(!seen.has(lease.vm.id));
    seen.add(lease.vm.id);
  }
  await pool.close();
  assert.equal(factory.alive.size, 0);
});

test('never more VMs than max, however many ask (simulated VMs)', async () => {
  const factory = createFactory();
  const pool = scheduleOne({ size: 2, frozen: 0, max: 3, create: asleep(factory.create), logger });
  const work = async (): Promise<void> => {
    await using _lease = await pool.acquire(signal);
    await sleep(3);
  };
  await Promise.all(Array.from({ length: 25 }, work));
  assert.ok(factory.most() <= 3, `${factory.most()} at once`);
  await pool.close();
  assert.equal(factory.alive.size, 0);
});

test('a warm VM that dies is replaced, and never handed out (simulated VMs)', async () => {
  const factory = createFactory();
  const pool = scheduleOne({ size: 1, frozen: 0, max: 2, create: asleep(factory.create), logger });
  pool.start();
  await settle(pool, 1);
  const [first = ''] = factory.alive;
  factory.end(first);
  await sleep(0);
  await settle(pool, 1);
  assert.ok(!factory.alive.has(first), 'the dead one is destroyed');
  await using lease = await pool.acquire(signal);
  assert.notEqual(lease.vm.id, first);
  await lease[Symbol.asyncDispose]();
  await pool.close();
});

test('a build that gave up waiting loses no VM (simulated VMs)', async () => {
  const factory = createFactory();
  const pool = scheduleOne({ size: 0, frozen: 0, max: 2, create: asleep(factory.create), logger });
  for (let round = 0; round < 50; round += 1) {
    const controller = new AbortController();
    const waiting = pool.acquire(controller.signal);
    await sleep(round % 3);
    controller.abort(new Error('gave up'));
    await waiting.then(
      (lease) => lease[Symbol.asyncDispose](),
      () => undefined,
    );
  }
  await pool.close();
  assert.equal(factory.alive.size, 0);
  assert.equal(pool.status.leased, 0);
});

test('a factory that keeps failing tells who waits after three tries (simulated VMs)', async () => {
  const create = async (): Promise<PooledVm> => {
    throw new Error('no VM today');
  };
  const pool = scheduleOne({ size: 1, frozen: 0, max: 1, create: asleep(create), logger });
  await assert.rejects(pool.acquire(signal), { code: 'INTERNAL' });
  await pool.close();
});

/** A simulated VM whose end takes until `release`, and may fail. */
function createSlow(failure?: Error) {
  const release = Promise.withResolvers<void>();
  const factory = createFactory();
  const create = async (): Promise<PooledVm> => {
    const vm = await factory.create();
    const end = async (): Promise<void> => {
      await release.promise;
      await vm[Symbol.asyncDispose]();
      if (failure) throw failure;
    };
    return { ...vm, [Symbol.asyncDispose]: end };
  };
  return { ...factory, create, release: release.resolve };
}

/** A pool whose one warm VM has died and is not gone yet. */
async function poolOfOneDying() {
  const factory = createSlow();
  const pool = scheduleOne({ size: 1, frozen: 0, max: 1, create: asleep(factory.create), logger });
  pool.start();
  await settle(pool, 1);
  factory.end('vm-1');
  await settle(pool, 0);
  return { factory, pool };
}

test('a warm VM that died counts until it is gone: there is never one more than max (simulated VMs)', async () => {
  const { factory, pool } = await poolOfOneDying();
  await sleep(20);
  assert.deepEqual([...factory.alive], ['vm-1']);
  factory.release();
  await settle(pool, 1);
  assert.equal(factory.most(), 1);
  await pool.close();
});

test('closing waits for a warm VM that died and is not gone yet (simulated VMs)', async () => {
  const { factory, pool } = await poolOfOneDying();
  const closed = pool.close();
  setTimeout(factory.release, 20);
  await closed;
  assert.equal(factory.alive.size, 0);
});

test('a VM that cannot be destroyed is told of in the log, and takes nobody along (simulated VMs)', async () => {
  const errors: object[] = [];
  const failure = new Error('it does not go');
  const factory = createSlow(failure);
  factory.release();
  const error = (fields: object): number => errors.push(fields);
  const pool = scheduleOne({
    size: 0,
    frozen: 0,
    max: 1,
    create: asleep(factory.create),
    logger: { ...logger, error },
  });
  const lease = await pool.acquire(signal);
  await lease[Symbol.asyncDispose]();
  assert.deepEqual(errors, [{ vm: 'vm-1', error: failure }]);
  await using _next = await pool.acquire(signal);
  await pool.close();
});

test('a pool that has made a VM is proven between one VM and the next, until one cannot be made (simulated VMs)', async () => {
  const factory = createFactory();
  let broken = false;
  const create = (): Promise<PooledVm> => (broken ? Promise.reject(new Error('no')) : factory.create());
  const pool = scheduleOne({ size: 1, frozen: 0, max: 1, create: asleep(create), logger });
  assert.equal(pool.status.proven, false);
  pool.start();
  await settle(pool, 1);
  const lease = await pool.acquire(signal);
  await lease[Symbol.asyncDispose]();
  assert.deepEqual([pool.status.warm, pool.status.leased, pool.status.proven], [0, 0, true]);
  await settle(pool, 1);
  broken = true;
  await (await pool.acquire(signal))[Symbol.asyncDispose]();
  while (pool.status.problem === null) await sleep(2);
  assert.equal(pool.status.proven, false);
  await pool.close();
});

/** A simulated VM that says when it woke, and can be kept from waking. */
function createSleepers() {
  const factory = createFactory();
  const woken: string[] = [];
  let broken = false;
  const create = async (): Promise<FrozenPooledVm<PooledVm>> => {
    const vm = await factory.create();
    const wake = async (): Promise<PooledVm> => {
      await sleep(1);
      if (broken) {
        await vm[Symbol.asyncDispose]();
        throw new Error('it does not wake');
      }
      woken.push(vm.id);
      return vm;
    };
    return { ...vm, wake };
  };
  return {
    ...factory,
    create,
    woken,
    breakDown(now: boolean) {
      broken = now;
    },
  };
}

async function settleFrozen(
  pool: OneEntry<PooledVm>,
  status: { warm: number; frozen: number },
): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (pool.status.warm !== status.warm || pool.status.frozen !== status.frozen) {
    assert.ok(performance.now() < deadline, `the pool has ${JSON.stringify(pool.status)}`);
    await sleep(2);
  }
}

test('frozen VMs are kept behind the warm ones; the first of them wakes when a warm one is taken (simulated VMs)', async () => {
  const { create, woken, alive } = createSleepers();
  const pool = scheduleOne({ size: 1, frozen: 2, max: 4, create, logger });
  pool.start();
  await settleFrozen(pool, { warm: 1, frozen: 2 });
  assert.deepEqual([woken, [...alive]], [['vm-1'], ['vm-1', 'vm-2', 'vm-3']]);
  const lease = await pool.acquire(signal);
  assert.equal(lease.vm.id, 'vm-1');
  await settleFrozen(pool, { warm: 1, frozen: 2 });
  assert.deepEqual(woken, ['vm-1', 'vm-2']);
  await lease[Symbol.asyncDispose]();
  await pool.close();
  assert.equal(alive.size, 0, 'the frozen ones too');
});

test('frozen VMs take no room from warm ones: at max they wake for who waits (simulated VMs)', async () => {
  const { create, woken, most } = createSleepers();
  const pool = scheduleOne({ size: 1, frozen: 5, max: 3, create, logger });
  pool.start();
  await settleFrozen(pool, { warm: 1, frozen: 2 });
  const leases = await Promise.all([pool.acquire(signal), pool.acquire(signal), pool.acquire(signal)]);
  assert.deepEqual(
    leases.map(({ vm }) => vm.id),
    ['vm-1', 'vm-2', 'vm-3'],
  );
  assert.deepEqual([woken.length, most(), pool.status.frozen], [3, 3, 0]);
  await Promise.all(leases.map((lease) => lease[Symbol.asyncDispose]()));
  await pool.close();
});

test('a frozen VM that dies is replaced; one that does not wake is a failure to make a VM (simulated VMs)', async () => {
  const { create, end, alive, breakDown } = createSleepers();
  const pool = scheduleOne({ size: 1, frozen: 1, max: 3, create, logger });
  pool.start();
  await settleFrozen(pool, { warm: 1, frozen: 1 });
  end('vm-2');
  await sleep(0);
  await settleFrozen(pool, { warm: 1, frozen: 1 });
  assert.deepEqual([...alive], ['vm-1', 'vm-3']);
  breakDown(true);
  const lease = await pool.acquire(signal);
  while (pool.status.problem === null) await sleep(2);
  assert.deepEqual(
    [pool.status.problem, pool.status.proven, alive.has('vm-3')],
    ['internal error', false, false],
  );
  breakDown(false);
  await settleFrozen(pool, { warm: 1, frozen: 1 });
  assert.equal(pool.status.problem, null);
  await lease[Symbol.asyncDispose]();
  await pool.close();
  assert.equal(alive.size, 0);
});
