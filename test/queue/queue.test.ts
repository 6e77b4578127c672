import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KilnError } from '../../src/model/error.ts';
import { Queue, type Slot } from '../../src/queue/queue.ts';

const never = new AbortController().signal;
const ignorePlace = (): void => undefined;

const isCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof KilnError && error.code === code;

test('builds get their turn in the order they came, and are told each place', async () => {
  const queue = new Queue({ slots: 1, limit: 3 });
  const first = await queue.enter({ signal: never, onPlace: ignorePlace });
  const places: string[] = [];
  const enter = (name: string): Promise<Slot> =>
    queue.enter({ signal: never, onPlace: (place) => places.push(`${name}${place}`) });
  const [b, c, d] = [enter('b'), enter('c'), enter('d')];
  first[Symbol.dispose]();
  (await b)[Symbol.dispose]();
  (await c)[Symbol.dispose]();
  (await d)[Symbol.dispose]();
  assert.deepEqual(places, ['b1', 'c2', 'd3', 'c1', 'd2', 'd1']);
  assert.equal(queue.waiting, 0);
});

test('a full line refuses the next at once and says when to come back', async () => {
  const queue = new Queue({ slots: 1, limit: 1 });
  await queue.enter({ signal: never, onPlace: ignorePlace });
  void queue.enter({ signal: never, onPlace: ignorePlace });
  assert.throws(
    () => queue.enter({ signal: never, onPlace: ignorePlace }),
    (error) => isCode('NO_CAPACITY')(error) && KilnError.from(error).details.retryAfterSeconds === 10,
  );
});

test('without a line, whoever finds no free slot is refused', async () => {
  const queue = new Queue({ slots: 1, limit: 0 });
  await queue.enter({ signal: never, onPlace: ignorePlace });
  assert.throws(() => queue.enter({ signal: never, onPlace: ignorePlace }), isCode('NO_CAPACITY'));
});

test('whoever gives up leaves the line with its own reason; those behind move up', async () => {
  const queue = new Queue({ slots: 1, limit: 2 });
  await queue.enter({ signal: never, onPlace: ignorePlace });
  const controller = new AbortController();
  const places: number[] = [];
  const leaving = queue.enter({ signal: controller.signal, onPlace: ignorePlace });
  void queue.enter({ signal: never, onPlace: (place) => places.push(place) });
  const reason = new Error('changed my mind');
  controller.abort(reason);
  await assert.rejects(leaving, reason);
  assert.deepEqual(places, [2, 1]);
  assert.equal(queue.waiting, 1);
});

test('whoever has given up already does not enter', () => {
  const queue = new Queue({ slots: 1, limit: 1 });
  const reason = new Error('too late');
  assert.throws(() => queue.enter({ signal: AbortSignal.abort(reason), onPlace: ignorePlace }), reason);
});

test('a slot that is given back twice counts once', async () => {
  const queue = new Queue({ slots: 1, limit: 2 });
  const slot = await queue.enter({ signal: never, onPlace: ignorePlace });
  const next = queue.enter({ signal: never, onPlace: ignorePlace });
  void queue.enter({ signal: never, onPlace: ignorePlace });
  slot[Symbol.dispose]();
  slot[Symbol.dispose]();
  await next;
  assert.equal(queue.waiting, 1);
});

test('a closed queue refuses newcomers and the line, and waits for what runs', async () => {
  const queue = new Queue({ slots: 2, limit: 1 });
  const slots = await Promise.all([1, 2].map(() => queue.enter({ signal: never, onPlace: ignorePlace })));
  const waiting = queue.enter({ signal: never, onPlace: ignorePlace });
  let closed = 0;
  const closings = [queue.close(), queue.close()].map((closing) => closing.then(() => (closed += 1)));
  await assert.rejects(waiting, isCode('DRAINING'));
  assert.throws(() => queue.enter({ signal: never, onPlace: ignorePlace }), isCode('DRAINING'));
  slots[0]?.[Symbol.dispose]();
  await Promise.resolve();
  assert.equal(closed, 0);
  slots[1]?.[Symbol.dispose]();
  await Promise.all(closings);
  await queue.close();
});

/** What a queue is, without promises: who has a slot, who waits, in order. */
type Model = { slots: number; limit: number; running: number[]; line: number[]; closed: boolean };

/** The real one, and what it told of each build. */
class Real {
  readonly queue: Queue;
  readonly controllers = new Map<number, AbortController>();
  readonly slots = new Map<number, Slot>();
  readonly places = new Map<number, number>();
  readonly failures = new Map<number, unknown>();

  constructor({ slots, limit }: Model) {
    this.queue = new Queue({ slots, limit });
  }

  /** @throws what the queue throws at once */
  enter(build: number): void {
    const controller = new AbortController();
    const onPlace = (place: number): void => void this.places.set(build, place);
    const turn = this.queue.enter({ signal: controller.signal, onPlace });
    this.controllers.set(build, controller);
    turn.then(
      (slot) => this.slots.set(build, slot),
      (error: unknown) => this.failures.set(build, error),
    );
  }
}

let builds = 0;
const pick = (from: readonly number[], seed: number): number => from[seed % from.length] ?? assert.fail();

async function check(model: Model, real: Real): Promise<void> {
  // Every promise the queue could have settled has run its reactions after a few microtasks.
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
  assert.deepEqual([...real.slots.keys()].sort(byNumber), [...model.running].sort(byNumber));
  assert.equal(real.queue.waiting, model.line.length);
  for (const [index, build] of model.line.entries()) assert.equal(real.places.get(build), index + 1);
}

const byNumber = (a: number, b: number): number => a - b;

type Command = fc.AsyncCommand<Model, Real>;

const enter: Command = {
  check: () => true,
  async run(model, real) {
    const build = builds++;
    const free = model.running.length < model.slots;
    const code = model.closed ? 'DRAINING' : !free && model.line.length >= model.limit ? 'NO_CAPACITY' : null;
    if (code) assert.throws(() => real.enter(build), isCode(code));
    else {
      real.enter(build);
      (free ? model.running : model.line).push(build);
    }
    await check(model, real);
  },
  toString: () => 'enter',
};

const leave = (seed: number): Command => ({
  check: (model) => model.line.length > 0,
  async run(model, real) {
    const build = pick(model.line, seed);
    model.line = model.line.filter((other) => other !== build);
    const reason = new Error('gone');
    real.controllers.get(build)?.abort(reason);
    await check(model, real);
    assert.equal(real.failures.get(build), reason);
  },
  toString: () => `leave(${seed})`,
});

const giveBack = (seed: number): Command => ({
  check: (model) => model.running.length > 0,
  async run(model, real) {
    const build = pick(model.running, seed);
    model.running = model.running.filter((other) => other !== build);
    const next = model.line.shift();
    if (next !== undefined) model.running.push(next);
    const slot = real.slots.get(build) ?? assert.fail();
    real.slots.delete(build);
    slot[Symbol.dispose]();
    await check(model, real);
  },
  toString: () => `giveBack(${seed})`,
});

/** A cancel that comes after its turn has come takes nothing away: the slot is the holder's to give back. */
const abortRunning = (seed: number): Command => ({
  check: (model) => model.running.length > 0,
  async run(model, real) {
    real.controllers.get(pick(model.running, seed))?.abort(new Error('too late'));
    await check(model, real);
  },
  toString: () => `abortRunning(${seed})`,
});

const close: Command = {
  check: (model) => !model.closed,
  async run(model, real) {
    const line = model.line.splice(0);
    model.closed = true;
    void real.queue.close();
    await check(model, real);
    for (const build of line) assert.ok(isCode('DRAINING')(real.failures.get(build)));
  },
  toString: () => 'close',
};

test('whatever is done to a queue, it behaves as its model', async () => {
  const seeds = fc.nat(1000);
  const commands = fc.commands(
    [
      fc.constant(enter),
      fc.constant(enter),
      seeds.map(leave),
      seeds.map(giveBack),
      seeds.map(abortRunning),
      // Rare, since nothing much happens after it.
      fc.nat(20).map((chance) => (chance === 0 ? close : enter)),
    ],
    { size: '+1' },
  );
  const run = async (slots: number, limit: number, chosen: Iterable<Command>): Promise<void> => {
    const model: Model = { slots, limit, running: [], line: [], closed: false };
    const real = new Real(model);
    await fc.asyncModelRun(() => ({ model, real }), chosen);
    const closed = real.queue.close();
    for (const slot of real.slots.values()) slot[Symbol.dispose]();
    await closed;
  };
  const property = fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.nat(5), commands, run);
  await fc.assert(property, { numRuns: 300 });
});
