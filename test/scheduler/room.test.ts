import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Lease } from '../../src/pool/pool.ts';
import { type Kept, Scheduler } from '../../src/scheduler/scheduler.ts';
import { type EntryVm, type SimulatedFleet, simulateFleet, turn } from './simulated-fleet.ts';

/** Room for a VM beside the pools, such as that of an image that is being checked. */

const never = new AbortController().signal;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const onPlace = (): void => undefined;

type Parts = { readonly fleet: SimulatedFleet; readonly scheduler: Scheduler<EntryVm> };

function createParts(options: { max: number; limit?: number; kept?: Record<string, Kept> }): Parts {
  const fleet = simulateFleet();
  const kept = new Map(Object.entries(options.kept ?? {}));
  return {
    fleet,
    scheduler: new Scheduler({ limit: 10, ...options, kept, create: fleet.create, logger }),
  };
}

async function settle(): Promise<void> {
  for (let count = 0; count < 40; count += 1) await turn();
}

const enter = ({ scheduler }: Parts, entry = 'a'): Promise<Lease<EntryVm>> =>
  scheduler.enter({ entry, tenant: 'default', signal: never, onPlace });

test('where there is room for one VM alone, builds and who takes room have their turns, in order; a warm VM gives way (simulated VMs)', async () => {
  const parts = createParts({ max: 1, kept: { a: { warm: 1, frozen: 1 } } });
  const { scheduler, fleet } = parts;
  scheduler.start();
  await settle();
  assert.equal(fleet.alive.size, 1);
  const first = await scheduler.takeRoom({ signal: never, onPlace });
  await settle();
  assert.equal(fleet.alive.size, 0, 'the warm VM went, and no other is made');
  const order: string[] = [];
  const build = enter(parts).then((lease) => {
    order.push('build');
    return lease;
  });
  const second = scheduler
    .takeRoom({ signal: never, onPlace: (place) => order.push(`place ${place}`) })
    .then((room) => {
      order.push('room');
      return room;
    });
  const last = enter(parts);
  await settle();
  assert.deepEqual(order, ['place 2']);
  first[Symbol.dispose]();
  await (await build)[Symbol.asyncDispose]();
  const room = await second;
  await settle();
  assert.deepEqual([order, fleet.alive.size], [['place 2', 'place 1', 'build', 'room'], 0]);
  room[Symbol.dispose]();
  await (await last)[Symbol.asyncDispose]();
  await settle();
  assert.deepEqual([fleet.most(), fleet.alive.size], [1, 1]);
  await scheduler.close();
});

test('room is given once, and given back once (simulated VMs)', async () => {
  const parts = createParts({ max: 2 });
  const { scheduler } = parts;
  const room = await scheduler.takeRoom({ signal: never, onPlace });
  room[Symbol.dispose]();
  room[Symbol.dispose]();
  const leases = [await enter(parts), await enter(parts)];
  let third = false;
  const waiting = enter(parts).then((lease) => {
    third = true;
    return lease;
  });
  await settle();
  assert.equal(third, false);
  await leases[0]?.[Symbol.asyncDispose]();
  await (await waiting)[Symbol.asyncDispose]();
  await scheduler.close();
});

test('who takes room leaves to those in front what they need, and takes what they leave (simulated VMs)', async () => {
  const parts = createParts({ max: 2 });
  const { scheduler } = parts;
  // The pool of an entry makes one VM at a time: the second has none that is coming yet.
  const builds = [enter(parts), enter(parts)];
  const places: number[] = [];
  const taken = scheduler.takeRoom({ signal: never, onPlace: (place) => places.push(place) });
  const leases = await Promise.all(builds);
  await settle();
  assert.deepEqual(places, [1]);
  await leases[0]?.[Symbol.asyncDispose]();
  (await taken)[Symbol.dispose]();
  await scheduler.close();
  const other = createParts({ max: 2 });
  await Promise.all([enter(other), other.scheduler.takeRoom({ signal: never, onPlace })]);
  await other.scheduler.close();
});

test('a full line keeps nobody from taking room; who gives up, and the end of the service, leave none behind (simulated VMs)', async () => {
  const parts = createParts({ max: 1, limit: 0 });
  const { scheduler, fleet } = parts;
  const lease = await enter(parts);
  assert.throws(() => void enter(parts), { code: 'NO_CAPACITY' });
  const controller = new AbortController();
  const left = scheduler.takeRoom({ signal: controller.signal, onPlace });
  const reason = new Error('changed my mind');
  controller.abort(reason);
  await assert.rejects(left, reason);
  await lease[Symbol.asyncDispose]();
  const again = await enter(parts);
  const refused = scheduler.takeRoom({ signal: never, onPlace });
  scheduler.refuseAll();
  await assert.rejects(refused, { code: 'DRAINING' });
  await assert.rejects(scheduler.takeRoom({ signal: never, onPlace }), { code: 'DRAINING' });
  await again[Symbol.asyncDispose]();
  await scheduler.close();
  assert.equal(fleet.alive.size, 0);
});
