import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildRequest, Builds } from '../../src/model/builds.ts';
import { type Caller, localAdmin } from '../../src/model/caller.ts';
import type { ContextStaging } from '../../src/model/context.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { matrixAssertions } from './matrix-contract.ts';

/** `succeeds`: a build says something and succeeds. `goes on`: it says something and never ends by itself. */
export type Ending = 'succeeds' | 'goes on';
export type OpenedBuilds = AsyncDisposable & { readonly builds: Builds };

type Title = string;
export type Assertion = readonly [Title, Ending, (builds: Builds) => Promise<void>];

const { signal } = new AbortController();
const fromStart = { logOffset: 0, eventOffset: 0, follow: true, signal };
const allOf = { offset: 0, follow: true, signal };
const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM scratch\n') };
const other = '019a0000-0000-7000-8000-0000000000ff';

/** What the edges take for granted of the use-cases; whatever stands in for them must hold it too. */
export function testContract(name: string, open: (ending: Ending) => Promise<OpenedBuilds>): void {
  for (const [title, ending, hold] of assertions) {
    test(`${name}: ${title}`, async () => {
      await using opened = await open(ending);
      await hold(opened.builds);
    });
  }
}

const reader: Caller = { ...localAdmin, role: 'read' };
const stranger: Caller = { tenant: 'other', role: 'admin' };

const assertions: readonly Assertion[] = [
  ...matrixAssertions,
  [
    'a build belongs to the tenant that started it; to every other it does not exist, not even for its admin',
    'goes on',
    async (builds) => {
      const { id, tenant } = await builds.start(localAdmin, request);
      assert.equal(tenant, localAdmin.tenant);
      await notThere(builds, stranger, id);
      assert.deepEqual(await builds.list(stranger, { limit: 10 }), { builds: [], more: false });
      {
        await using _client = builds.attend(stranger, id);
      }
      assert.notEqual((await builds.get(localAdmin, id)).state, 'cancelled');
    },
  ],
  [
    'the role read may look at everything of its tenant, and neither build nor cancel',
    'goes on',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      assert.equal((await builds.get(reader, id)).id, id);
      assert.equal((await builds.list(reader, { limit: 1 })).builds.length, 1);
      for await (const _item of await builds.watch(reader, id, fromStart)) break;
      await builds.readLog(reader, id, allOf);
      await builds.events(reader, id, allOf);
      await builds.catalog(reader);
      await rejects(builds.artifact(reader, id), 'NOT_READY');
      assert.throws(() => builds.check(reader, request), { code: 'ROLE_TOO_LOW' });
      assert.throws(() => builds.receive(reader, () => 0), { code: 'ROLE_TOO_LOW' });
      await rejects(builds.stageContexts(reader, signal), 'ROLE_TOO_LOW');
      const { context, removed } = simulateContext();
      await rejects(builds.start(reader, { ...request, context }), 'ROLE_TOO_LOW');
      assert.ok(removed());
      await rejects(builds.cancel(reader, id, 'x'), 'ROLE_TOO_LOW');
      assert.notEqual((await builds.get(reader, id)).state, 'cancelled');
    },
  ],
  [
    'the role build may do all that there is to do with builds',
    'goes on',
    async (builds) => {
      const builder: Caller = { ...localAdmin, role: 'build' };
      builds.check(builder, request);
      const { id } = await builds.start(builder, request);
      assert.equal((await builds.cancel(builder, id, 'Enough.')).state, 'cancelled');
    },
  ],
  [
    'only so many requests are received at once; where one has left there is room for one more',
    'goes on',
    async (builds) => {
      const places: Disposable[] = [];
      const enter = (): number => places.push(builds.receive(localAdmin, () => 0));
      assert.throws(() => Array.from({ length: 1000 }, enter), {
        code: 'NO_CAPACITY',
        details: { retryAfterSeconds: 10 },
      });
      assert.equal(places.length, 128);
      for (let time = 0; time < 2; time += 1) places[0]?.[Symbol.dispose]();
      enter();
      assert.throws(enter, { code: 'NO_CAPACITY' });
    },
  ],
  [
    'a build has one id, by which it is got and listed',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      assert.equal((await builds.get(localAdmin, id)).id, id);
      const page = await builds.list(localAdmin, { limit: 1 });
      assert.deepEqual([page.builds.map((record) => record.id), page.more], [[id], false]);
    },
  ],
  [
    'the last item of a followed build is its verdict, and its record has it then',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      const items = await collect(await builds.watch(localAdmin, id, fromStart));
      const record = await builds.get(localAdmin, id);
      const last = items.at(-1);
      assert.ok(last?.kind === 'event' && last.event.type === 'verdict');
      assert.deepEqual([record.state, record.verdict], ['succeeded', last.event.verdict]);
    },
  ],
  [
    'log and events are the same, watched together or read alone',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      const items = await collect(await builds.watch(localAdmin, id, fromStart));
      assert.deepEqual(
        await collect(await builds.events(localAdmin, id, allOf)),
        items.filter(({ kind }) => kind === 'event'),
      );
      const log = Buffer.concat(await collect(await builds.readLog(localAdmin, id, allOf)));
      assert.ok(log.length > 1);
      assert.deepEqual(Buffer.concat(items.flatMap((item) => (item.kind === 'log' ? [item.data] : []))), log);
      const rest = await collect(await builds.readLog(localAdmin, id, { ...allOf, offset: 1 }));
      assert.deepEqual(Buffer.concat(rest), log.subarray(1));
    },
  ],
  [
    'the offsets of what was sent are where one reads on',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      const items = await collect(await builds.watch(localAdmin, id, fromStart));
      const ends = { log: 0, event: 0 };
      for (const item of items) {
        if (item.kind === 'log') assert.equal(item.offset, ends.log);
        else assert.ok(item.offset > ends.event);
        ends[item.kind] = item.offset + (item.kind === 'log' ? item.data.length : 0);
        const events = await collect(await builds.events(localAdmin, id, { ...allOf, offset: ends.event }));
        assert.deepEqual(
          events,
          items.filter(({ kind, offset }) => kind === 'event' && offset > ends.event),
        );
      }
      const range = { ...fromStart, logOffset: ends.log, eventOffset: ends.event };
      assert.deepEqual(await collect(await builds.watch(localAdmin, id, range)), []);
    },
  ],
  [
    'offsets beyond the end and within an event are refused before anything is sent',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      await collect(await builds.watch(localAdmin, id, fromStart));
      const beyond = { ...allOf, offset: 1e9 };
      await rejects(builds.readLog(localAdmin, id, beyond), 'OUT_OF_RANGE');
      await rejects(builds.events(localAdmin, id, beyond), 'OUT_OF_RANGE');
      await rejects(builds.watch(localAdmin, id, { ...fromStart, logOffset: 1e9 }), 'OUT_OF_RANGE');
      await rejects(builds.watch(localAdmin, id, { ...fromStart, eventOffset: 1e9 }), 'OUT_OF_RANGE');
      await rejects(builds.watch(localAdmin, id, { ...fromStart, eventOffset: 1 }), 'OFFSET_INVALID');
      await rejects(builds.events(localAdmin, id, { ...allOf, offset: 1 }), 'OFFSET_INVALID');
    },
  ],
  [
    'a build that has ended is not cancelled, and has no artifact where it was asked for none',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      await collect(await builds.watch(localAdmin, id, fromStart));
      await rejects(builds.cancel(localAdmin, id, 'too late'), 'BUILD_TERMINAL');
      await rejects(builds.artifact(localAdmin, id), 'NOT_FOUND');
      assert.equal((await builds.get(localAdmin, id)).state, 'succeeded');
    },
  ],
  [
    'cancelling ends the build and everyone who follows it, with the reason',
    'goes on',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      await rejects(builds.artifact(localAdmin, id), 'NOT_READY');
      const following = collect(await builds.watch(localAdmin, id, fromStart));
      const record = await builds.cancel(localAdmin, id, 'Enough.');
      assert.deepEqual([record.state, record.verdict?.message], ['cancelled', 'Enough.']);
      const last = (await following).at(-1);
      assert.ok(last?.kind === 'event' && last.event.type === 'verdict');
      assert.deepEqual(last.event.verdict, record.verdict);
    },
  ],
  [
    'a client that attends and leaves before the end cancels the build; whoever only watches does not',
    'goes on',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      for await (const _item of await builds.watch(localAdmin, id, fromStart)) break;
      const leave = new AbortController();
      const watching = collect(await builds.watch(localAdmin, id, { ...fromStart, signal: leave.signal }));
      leave.abort(new KilnError('CLIENT_GONE', 'gone'));
      await rejects(watching, 'CLIENT_GONE');
      assert.notEqual((await builds.get(localAdmin, id)).state, 'cancelled');
      {
        await using _client = builds.attend(localAdmin, id);
      }
      const { state, verdict } = await builds.get(localAdmin, id);
      assert.deepEqual([state, verdict?.message], ['cancelled', 'The client went away.']);
    },
  ],
  [
    'a client that attends until the end changes nothing, and one of no build harms nothing',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(localAdmin, request);
      {
        await using _client = builds.attend(localAdmin, id);
        await using _none = builds.attend(localAdmin, other);
        await collect(await builds.watch(localAdmin, id, fromStart));
      }
      assert.equal((await builds.get(localAdmin, id)).state, 'succeeded');
    },
  ],
  [
    'a build that is not there is not found, whatever is asked of it',
    'succeeds',
    async (builds) => {
      await notThere(builds, localAdmin, other);
    },
  ],
  [
    'what can be told without the context is refused without it, and again at the start, which then keeps no context',
    'succeeds',
    async (builds) => {
      const refused: readonly (readonly [Omit<BuildRequest, 'context'>, string])[] = [
        [{ ...request, spec: parseSpec({ entry: 'buildkit-v0.1.0' }) }, 'BUILDKIT_UNKNOWN'],
        [{ ...request, dockerfile: Buffer.from('FROM a\0b') }, 'DOCKERFILE_INVALID'],
      ];
      builds.check(localAdmin, request);
      for (const [wrong, code] of refused) {
        const { context, removed } = simulateContext();
        assert.throws(() => builds.check(localAdmin, wrong), { code });
        await rejects(builds.start(localAdmin, { ...wrong, context }), code);
        assert.ok(removed());
      }
      await rejects(builds.start(localAdmin, { ...request, dockerfile: null }), 'FILE_MISSING');
    },
  ],
];

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** In every use-case and in the same words, whether it exists for somebody else or not at all. */
async function notThere(builds: Builds, caller: Caller, id: string): Promise<void> {
  const notFound = { code: 'NOT_FOUND', message: 'There is no build with this id.' };
  await assert.rejects(builds.get(caller, id), notFound);
  await assert.rejects(builds.cancel(caller, id, 'x'), notFound);
  await assert.rejects(builds.readLog(caller, id, allOf), notFound);
  await assert.rejects(builds.watch(caller, id, fromStart), notFound);
  await assert.rejects(builds.events(caller, id, allOf), notFound);
  await assert.rejects(builds.artifact(caller, id), notFound);
}

function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(promise, { code });
}

function simulateContext(): { context: ContextStaging; removed: () => boolean } {
  let removed = false;
  const context: ContextStaging = {
    summary: { digest: `sha256:${'a'.repeat(64)}`, size: 1024, entries: 1, warnings: [] },
    names: [],
    add: () => assert.fail('it was added to'),
    seal: () => assert.fail('it was sealed'),
    async [Symbol.asyncDispose]() {
      removed = true;
    },
  };
  return { context, removed: () => removed };
}
