import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildRequest, Builds } from '../../src/model/builds.ts';
import type { StagedContext } from '../../src/model/context.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';

/** `succeeds`: a build says something and succeeds. `goes on`: it says something and never ends by itself. */
export type Ending = 'succeeds' | 'goes on';
export type OpenedBuilds = AsyncDisposable & { readonly builds: Builds };

type Title = string;
type Assertion = readonly [Title, Ending, (builds: Builds) => Promise<void>];

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

const assertions: readonly Assertion[] = [
  [
    'a build has one id, by which it is got and listed',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      assert.equal((await builds.get(id)).id, id);
      const page = await builds.list({ limit: 1 });
      assert.deepEqual([page.builds.map((record) => record.id), page.more], [[id], false]);
    },
  ],
  [
    'the last item of a followed build is its verdict, and its record has it then',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      const items = await collect(await builds.watch(id, fromStart));
      const record = await builds.get(id);
      const last = items.at(-1);
      assert.ok(last?.kind === 'event' && last.event.type === 'verdict');
      assert.deepEqual([record.state, record.verdict], ['succeeded', last.event.verdict]);
    },
  ],
  [
    'log and events are the same, watched together or read alone',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      const items = await collect(await builds.watch(id, fromStart));
      assert.deepEqual(
        await collect(await builds.events(id, allOf)),
        items.filter(({ kind }) => kind === 'event'),
      );
      const log = Buffer.concat(await collect(await builds.readLog(id, allOf)));
      assert.ok(log.length > 1);
      assert.deepEqual(Buffer.concat(items.flatMap((item) => (item.kind === 'log' ? [item.data] : []))), log);
      const rest = await collect(await builds.readLog(id, { ...allOf, offset: 1 }));
      assert.deepEqual(Buffer.concat(rest), log.subarray(1));
    },
  ],
  [
    'the offsets of what was sent are where one reads on',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      const items = await collect(await builds.watch(id, fromStart));
      const ends = { log: 0, event: 0 };
      for (const item of items) {
        if (item.kind === 'log') assert.equal(item.offset, ends.log);
        else assert.ok(item.offset > ends.event);
        ends[item.kind] = item.offset + (item.kind === 'log' ? item.data.length : 0);
        const events = await collect(await builds.events(id, { ...allOf, offset: ends.event }));
        assert.deepEqual(
          events,
          items.filter(({ kind, offset }) => kind === 'event' && offset > ends.event),
        );
      }
      const range = { ...fromStart, logOffset: ends.log, eventOffset: ends.event };
      assert.deepEqual(await collect(await builds.watch(id, range)), []);
    },
  ],
  [
    'offsets beyond the end and within an event are refused before anything is sent',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      await collect(await builds.watch(id, fromStart));
      const beyond = { ...allOf, offset: 1e9 };
      await rejects(builds.readLog(id, beyond), 'OUT_OF_RANGE');
      await rejects(builds.events(id, beyond), 'OUT_OF_RANGE');
      await rejects(builds.watch(id, { ...fromStart, logOffset: 1e9 }), 'OUT_OF_RANGE');
      await rejects(builds.watch(id, { ...fromStart, eventOffset: 1e9 }), 'OUT_OF_RANGE');
      await rejects(builds.watch(id, { ...fromStart, eventOffset: 1 }), 'OFFSET_INVALID');
      await rejects(builds.events(id, { ...allOf, offset: 1 }), 'OFFSET_INVALID');
    },
  ],
  [
    'a build that has ended is not cancelled, and has no artifact where it was asked for none',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      await collect(await builds.watch(id, fromStart));
      await rejects(builds.cancel(id, 'too late'), 'BUILD_TERMINAL');
      await rejects(builds.artifact(id), 'NOT_FOUND');
      assert.equal((await builds.get(id)).state, 'succeeded');
    },
  ],
  [
    'cancelling ends the build and everyone who follows it, with the reason',
    'goes on',
    async (builds) => {
      const { id } = await builds.start(request);
      await rejects(builds.artifact(id), 'NOT_READY');
      const following = collect(await builds.watch(id, fromStart));
      const record = await builds.cancel(id, 'Enough.');
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
      const { id } = await builds.start(request);
      for await (const _item of await builds.watch(id, fromStart)) break;
      const leave = new AbortController();
      const watching = collect(await builds.watch(id, { ...fromStart, signal: leave.signal }));
      leave.abort(new KilnError('CLIENT_GONE', 'gone'));
      await rejects(watching, 'CLIENT_GONE');
      assert.notEqual((await builds.get(id)).state, 'cancelled');
      {
        await using _client = builds.attend(id);
      }
      const { state, verdict } = await builds.get(id);
      assert.deepEqual([state, verdict?.message], ['cancelled', 'The client went away.']);
    },
  ],
  [
    'a client that attends until the end changes nothing, and one of no build harms nothing',
    'succeeds',
    async (builds) => {
      const { id } = await builds.start(request);
      {
        await using _client = builds.attend(id);
        await using _none = builds.attend(other);
        await collect(await builds.watch(id, fromStart));
      }
      assert.equal((await builds.get(id)).state, 'succeeded');
    },
  ],
  [
    'a build that is not there is not found, whatever is asked of it',
    'succeeds',
    async (builds) => {
      await rejects(builds.get(other), 'NOT_FOUND');
      await rejects(builds.cancel(other, 'x'), 'NOT_FOUND');
      await rejects(builds.readLog(other, allOf), 'NOT_FOUND');
      await rejects(builds.watch(other, fromStart), 'NOT_FOUND');
      await rejects(builds.events(other, allOf), 'NOT_FOUND');
      await rejects(builds.artifact(other), 'NOT_FOUND');
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
      builds.check(request);
      for (const [wrong, code] of refused) {
        const { context, removed } = simulateContext();
        assert.throws(() => builds.check(wrong), { code });
        await rejects(builds.start({ ...wrong, context }), code);
        assert.ok(removed());
      }
      await rejects(builds.start({ ...request, dockerfile: null }), 'FILE_MISSING');
    },
  ],
];

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(promise, { code });
}

function simulateContext(): { context: StagedContext; removed: () => boolean } {
  let removed = false;
  const context: StagedContext = {
    summary: { digest: `sha256:${'a'.repeat(64)}`, size: 1024, entries: 1, warnings: [] },
    seal: () => assert.fail('it was sealed'),
    async [Symbol.asyncDispose]() {
      removed = true;
    },
  };
  return { context, removed: () => removed };
}
