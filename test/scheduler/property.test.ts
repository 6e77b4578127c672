import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import { type EntryVm, type SimulatedFleet, simulateFleet, turn } from './simulated-fleet.ts';

const entries = ['a', 'b', 'c'] as const;
/** Who enters for it takes room for a VM of its own. */
const room = 'room';
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('enter' as const), entry: fc.constantFrom(...entries, room) }),
    fc.record({
      do: fc.constantFrom('leave' as const, 'giveBack' as const, 'kill' as const, 'wait' as const),
      which: fc.nat(20),
    }),
  ),
  { minLength: 1, maxLength: 30 },
);

/** A VM that counts as those of the pools do. */
async function makeIn(taken: Disposable, fleet: SimulatedFleet): Promise<AsyncDisposable> {
  const vm = await fleet.create(room, new AbortController().signal);
  return {
    async [Symbol.asyncDispose]() {
      await vm[Symbol.asyncDispose]();
      taken[Symbol.dispose]();
    },
  };
}

/** One that entered, in the order in which they came. */
class Client {
  readonly entry: string;
  readonly #controller = new AbortController();
  state: 'waits' | 'has' | 'left' = 'waits';
  lease: AsyncDisposable | null = null;

  constructor(entry: string, { scheduler, fleet }: { scheduler: Scheduler<EntryVm>; fleet: SimulatedFleet }) {
    this.entry = entry;
    const { signal } = this.#controller;
    const onPlace = (): void => undefined;
    const entered: Promise<AsyncDisposable> =
      entry === room
        ? scheduler.takeRoom({ signal, onPlace }).then((taken) => makeIn(taken, fleet))
        : scheduler.enter({ entry, tenant: 'default', signal, onPlace });
    entered.then(
      (lease) => {
        // Its VM may come in the moment in which it gives up.
        if (this.state === 'left') return lease[Symbol.asyncDispose]();
        this.state = 'has';
        this.lease = lease;
        return undefined;
      },
      () => undefined,
    );
  }

  leave(): void {
    this.state = 'left';
    this.#controller.abort(new Error('gave up'));
  }
}

const pick = <T>(from: readonly T[], which: number): T | undefined => from[which % Math.max(1, from.length)];

test('whatever happens, room is used, in order, and never more of it than there is (simulated VMs)', async () => {
  const keeps = fc.record({ warm: fc.nat(2), frozen: fc.nat(2) });
  const property = fc.asyncProperty(fc.integer({ min: 1, max: 4 }), keeps, steps, async (max, kept, all) => {
    const fleet = simulateFleet();
    const scheduler = new Scheduler<EntryVm>({
      ...{ max, limit: 100, create: fleet.create, logger },
      kept: new Map([['a', kept]]),
    });
    scheduler.start();
    const clients: Client[] = [];
    const inState = (state: Client['state']): Client[] => clients.filter((client) => client.state === state);
    for (const step of all) {
      if (step.do === 'enter') clients.push(new Client(step.entry, { scheduler, fleet }));
      else if (step.do === 'leave') pick(inState('waits'), step.which)?.leave();
      else if (step.do === 'kill') fleet.kill(pick([...fleet.alive.keys()], step.which) ?? '');
      else if (step.do === 'giveBack') {
        const client = pick(inState('has'), step.which);
        if (client) client.state = 'left';
        void client?.lease?.[Symbol.asyncDispose]();
      } else for (let count = 0; count < step.which; count += 1) await turn();
      assert.ok(fleet.alive.size <= max, `${fleet.alive.size} of ${max}`);
    }
    for (let count = 0; count < 100; count += 1) await turn();
    const [waiting, served] = [inState('waits'), inState('has')];
    assert.ok(fleet.most() <= max, `${fleet.most()} at once, of ${max}`);
    assert.ok(waiting.length === 0 || served.length === max, 'somebody waits although there is room');
    for (const client of waiting) {
      const later = clients.slice(clients.indexOf(client) + 1);
      const overtaken = later.some((other) => other.entry === client.entry && other.state === 'has');
      assert.ok(!overtaken, 'one of the same entry that came later was served first');
    }
    if (waiting.length === 0) {
      const { warm = 0, frozen = 0 } = scheduler.status.get('a') ?? {};
      const room = max - served.length;
      assert.ok(warm >= Math.min(kept.warm, room), `${warm} warm, of ${kept.warm} with room for ${room}`);
      assert.ok(warm + frozen >= Math.min(kept.warm, room));
    }
    const closed = scheduler.close();
    for (const { lease } of served) void lease?.[Symbol.asyncDispose]();
    await closed;
    for (let count = 0; count < 5; count += 1) await turn();
    assert.equal(fleet.alive.size, 0);
  });
  await fc.assert(property, { numRuns: 300 });
});
