import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KilnError } from '../../src/model/error.ts';
import type { Lease } from '../../src/pool/pool.ts';
import { type Kept, Scheduler } from '../../src/scheduler/scheduler.ts';
import { type EntryVm, type SimulatedFleet, simulateFleet, turn } from './simulated-fleet.ts';

const never = new AbortController().signal;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const ignorePlace = (): void => undefined;

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof KilnError && error.code === code;

type Parts = { readonly fleet: SimulatedFleet; readonly scheduler: Scheduler<EntryVm> };

function createParts(options: {
  max: number;
  limit: number;
  tenantLimit?: number;
  kept?: Record<string, Kept>;
}): Parts {
  const fleet = simulateFleet();
  const kept = new Map(Object.entries(options.kept ?? {}));
  return { fleet, scheduler: new Scheduler({ ...options, kept, create: fleet.create, logger }) };
}

async function settle(): Promise<void> {
  for (let count = 0; count < 40; count += 1) await turn();
}

function enterer({ scheduler }: Parts): (entry: string, signal?: AbortSignal) => Promise<Lease<EntryVm>> {
  return (entry, signal = never) =>
    scheduler.enter({ entry, tenant: 'default', signal, onPlace: ignorePlace });
}

test('builds get a VM in the order they came, and are told each place (simulated VMs)', async () => {
  const { scheduler } = createParts({ max: 1, limit: 3 });
  const places: string[] = [];
  const enter = (name: string): Promise<Lease<EntryVm>> =>
    scheduler.enter({
      entry: 'a',
      tenant: 'default',
      signal: never,
      onPlace: (place) => places.push(`${name}${place}`),
    });
  const first = await enter('a');
  const [b, c, d] = [enter('b'), enter('c'), enter('d')];
  await first[Symbol.asyncDispose]();
  await (await b)[Symbol.asyncDispose]();
  await (await c)[Symbol.asyncDispose]();
  await (await d)[Symbol.asyncDispose]();
  assert.deepEqual(places, ['b1', 'c2', 'd3', 'c1', 'd2', 'd1']);
  assert.equal(scheduler.waiting, 0);
  await scheduler.close();
});

test('a build whose VM is being made has no place, and does not count as waiting (simulated VMs)', async () => {
  const { scheduler } = createParts({ max: 1, limit: 0 });
  const lease = scheduler.enter({
    entry: 'a',
    tenant: 'default',
    signal: never,
    onPlace: () => assert.fail(),
  });
  assert.equal(scheduler.waiting, 0);
  await (await lease)[Symbol.asyncDispose]();
  await scheduler.close();
});

test('a full line refuses the next at once and says when to come back (simulated VMs)', async () => {
  const parts = createParts({ max: 1, limit: 1 });
  const enter = enterer(parts);
  await enter('a');
  const waiting = enter('a');
  assert.throws(
    () => void enter('b'),
    (error) => isCode('NO_CAPACITY')(error) && KilnError.from(error).details.retryAfterSeconds === 10,
  );
  assert.throws(() => parts.scheduler.refuseIfFull('default'), isCode('NO_CAPACITY'));
  const closing = parts.scheduler.close();
  await assert.rejects(waiting, isCode('DRAINING'));
  await closing;
});

test('whoever gives up leaves the line with its own reason; those behind move up (simulated VMs)', async () => {
  const parts = createParts({ max: 1, limit: 2 });
  const enter = enterer(parts);
  await enter('a');
  const controller = new AbortController();
  const places: number[] = [];
  const leaving = enter('a', controller.signal);
  const staying = parts.scheduler.enter({
    entry: 'a',
    tenant: 'default',
    signal: never,
    onPlace: (at) => places.push(at),
  });
  const reason = new Error('changed my mind');
  controller.abort(reason);
  await assert.rejects(leaving, reason);
  await settle();
  assert.deepEqual([places, parts.scheduler.waiting], [[2, 1], 1]);
  const gone = { name: 'too late' };
  assert.throws(() => void enter('a', AbortSignal.abort(gone)), gone);
  parts.scheduler.refuseAll();
  await assert.rejects(staying, isCode('DRAINING'));
  assert.throws(() => void enter('a'), isCode('DRAINING'));
});

test('a build that lost its VM comes before all others, also while newcomers are refused (simulated VMs)', async () => {
  const parts = createParts({ max: 1, limit: 2 });
  const enter = enterer(parts);
  const lost = await enter('a');
  const waiting = enter('a');
  parts.scheduler.refuseAll();
  await assert.rejects(waiting, isCode('DRAINING'));
  const again = parts.scheduler.enterAgain({
    entry: 'a',
    tenant: 'default',
    signal: never,
    onPlace: ignorePlace,
  });
  await lost[Symbol.asyncDispose]();
  await (await again)[Symbol.asyncDispose]();
  await parts.scheduler.close();
  assert.throws(
    () =>
      void parts.scheduler.enterAgain({ entry: 'a', tenant: 'default', signal: never, onPlace: ignorePlace }),
    isCode('DRAINING'),
  );
});

const count = ({ fleet }: Parts, entry: string): number =>
  [...fleet.alive.values()].filter((other) => other === entry).length;

test('VMs of an entry that nobody waits for make room for a build of another, and come back after it (simulated VMs)', async () => {
  const parts = createParts({ max: 3, limit: 5, kept: { a: { warm: 2, frozen: 1 } } });
  parts.scheduler.start();
  await settle();
  assert.deepEqual([count(parts, 'a'), count(parts, 'b')], [3, 0]);
  const lease = await enterer(parts)('b');
  await settle();
  assert.equal(lease.vm.entry, 'b');
  // The frozen one went, not a warm one.
  assert.deepEqual(parts.scheduler.status.get('a')?.warm, 2);
  assert.deepEqual([count(parts, 'a'), count(parts, 'b')], [2, 1]);
  await lease[Symbol.asyncDispose]();
  await settle();
  assert.deepEqual([count(parts, 'a'), count(parts, 'b')], [3, 0]);
  assert.equal(parts.fleet.most(), 3);
  await parts.scheduler.close();
  assert.equal(parts.fleet.alive.size, 0);
});

test('room goes to the first in line, whatever its entry: no entry starves another (simulated VMs)', async () => {
  const parts = createParts({ max: 1, limit: 10, kept: { a: { warm: 1, frozen: 1 } } });
  const enter = enterer(parts);
  const served: string[] = [];
  const run = async (entry: string): Promise<void> => {
    await using lease = await enter(entry);
    served.push(lease.vm.entry);
    await turn();
  };
  await Promise.all(['a', 'b', 'a', 'c', 'b', 'a'].map(run));
  assert.deepEqual(served, ['a', 'b', 'a', 'c', 'b', 'a']);
  await parts.scheduler.close();
});

test('a VM that its build gave up makes room for what is kept, once it is in the way (simulated VMs)', async () => {
  const parts = createParts({ max: 2, limit: 5, kept: { a: { warm: 2, frozen: 0 } } });
  const enter = enterer(parts);
  const controller = new AbortController();
  const given = enter('b', controller.signal);
  controller.abort(new Error('gave up'));
  await assert.rejects(given);
  await settle();
  assert.deepEqual([count(parts, 'a'), count(parts, 'b')], [2, 0]);
  await parts.scheduler.close();
});

test('an entry that cannot be made refuses its own builds and holds up no others (simulated VMs)', async () => {
  const parts = createParts({ max: 2, limit: 5 });
  parts.fleet.broken.add('bad');
  const enter = enterer(parts);
  const refused = assert.rejects(enter('bad'), isCode('INTERNAL'));
  for (let round = 0; round < 5; round += 1) await (await enter('good'))[Symbol.asyncDispose]();
  await refused;
  await parts.scheduler.close();
});

test('tenants get VMs by turns, each in its own order, and a newcomer waits for no more than a turn of each (simulated VMs)', async () => {
  const { scheduler } = createParts({ max: 1, limit: 20 });
  const served: string[] = [];
  const places: string[] = [];
  const enter = async (tenant: string, name: string): Promise<void> => {
    const onPlace = (place: number): void => void (tenant === 'few' && places.push(`${name}${place}`));
    await using _lease = await scheduler.enter({ entry: 'a', tenant, signal: never, onPlace });
    served.push(name);
  };
  const first = await scheduler.enter({ entry: 'a', tenant: 'many', signal: never, onPlace: ignorePlace });
  const all = ['m1', 'm2', 'm3', 'm4'].map((name) => enter('many', name));
  all.push(enter('few', 'f1'), enter('few', 'f2'), enter('third', 't1'));
  await first[Symbol.asyncDispose]();
  await Promise.all(all);
  assert.deepEqual(served, ['f1', 't1', 'm1', 'f2', 'm2', 'm3', 'm4']);
  assert.deepEqual(places.slice(0, 2), ['f11', 'f23']);
  await scheduler.close();
});

test('who has been away gets no turns for that time, and who gave up leaves none behind (simulated VMs)', async () => {
  const { scheduler } = createParts({ max: 1, limit: 20 });
  const served: string[] = [];
  const enter = async (tenant: string, signal = never): Promise<void> => {
    await using _lease = await scheduler.enter({ entry: 'a', tenant, signal, onPlace: ignorePlace });
    served.push(tenant);
  };
  for (let count = 0; count < 5; count += 1) await enter('one');
  const blocking = await scheduler.enter({ entry: 'a', tenant: 'x', signal: never, onPlace: ignorePlace });
  const controller = new AbortController();
  const left = Array.from({ length: 3 }, () => enter('two', controller.signal));
  controller.abort(new Error('gone'));
  await Promise.allSettled(left);
  const all = ['two', 'one', 'two', 'one', 'two'].map((tenant) => enter(tenant));
  await blocking[Symbol.asyncDispose]();
  await Promise.all(all);
  assert.deepEqual(served.slice(5), ['two', 'one', 'two', 'one', 'two']);
  await scheduler.close();
});

test('a tenant may fill only its part of the line (simulated VMs)', async () => {
  const { scheduler } = createParts({ max: 1, limit: 3, tenantLimit: 2 });
  const enter = (tenant: string): Promise<Lease<EntryVm>> =>
    scheduler.enter({ entry: 'a', tenant, signal: never, onPlace: ignorePlace });
  await enter('many');
  const waiting = [enter('many'), enter('many')];
  await assert.rejects(async () => enter('many'), /2 builds of your tenant are waiting already/);
  waiting.push(enter('few'));
  await assert.rejects(async () => enter('few'), /3 builds are waiting already/);
  for (const one of waiting) one.catch(() => undefined);
  await scheduler.close();
});
