import assert from 'node:assert/strict';
import { appendFile, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import {
  appendEvent,
  type BuildFiles,
  createBuildFiles,
  endBuildFiles,
  openBuildEvents,
  openBuildFiles,
} from '../../src/logs/build-files.ts';
import { readBuildEvents, watchBuildFiles } from '../../src/logs/watch-files.ts';
import type { BuildEvent, WatchItem } from '../../src/model/event.ts';
import { createSmallDisk } from '../small-disk.ts';
import { at, collect, createFolder, next, verdictEvent, warningEvent } from './harness.ts';

const { signal } = new AbortController();
const fromStart = { logOffset: 0, eventOffset: 0, follow: true, signal };

/** An item in words: a log's bytes as text, an event's type or message. */
function describe(item: WatchItem): string {
  if (item.kind === 'log') return `log ${item.data.toString()}`;
  return item.event.type === 'warning' ? `warning ${item.event.message}` : item.event.type;
}

async function watchAll(files: BuildFiles, range: Partial<typeof fromStart> = {}): Promise<WatchItem[]> {
  return collect(await watchBuildFiles(files, { ...fromStart, ...range }));
}

async function endBuild(files: BuildFiles): Promise<void> {
  await files.log.end();
  await appendEvent(files, verdictEvent);
  await files.events.end();
}

test('log and events come as they happen, the verdict last', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  const items = (await watchBuildFiles(files, fromStart))[Symbol.asyncIterator]();
  for (const word of ['one', 'two', 'three']) {
    await files.log.append(Buffer.from(word));
    assert.equal(describe(await next(items)), `log ${word}`);
    await appendEvent(files, warningEvent(word));
    assert.equal(describe(await next(items)), `warning ${word}`);
  }
  await endBuild(files);
  assert.equal(describe(await next(items)), 'verdict');
  assert.equal((await items.next()).done, true);
});

test('the offset of an event is where the next one starts, and of a log where it starts itself', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  await files.log.append(Buffer.from('0123456789'));
  for (const message of ['eins', 'zwei – größer', 'drei']) await appendEvent(files, warningEvent(message));
  await endBuild(files);
  const all = await watchAll(files);
  const events = all.filter(({ kind }) => kind === 'event');
  assert.deepEqual(events.map(describe), [
    'warning eins',
    'warning zwei – größer',
    'warning drei',
    'verdict',
  ]);
  for (const [index, { offset }] of events.entries()) {
    const rest = await watchAll(files, { eventOffset: offset, logOffset: 4 });
    assert.deepEqual(
      rest.map(describe).sort(),
      ['log 456789', ...events.slice(index + 1).map(describe)].sort(),
    );
    assert.deepEqual(rest.find(({ kind }) => kind === 'log')?.offset, 4);
  }
  assert.equal(events.at(-1)?.offset, files.events.size);
});

test('an event offset within an event is OFFSET_INVALID, one beyond is OUT_OF_RANGE, before anything is sent', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  await appendEvent(files, warningEvent('x'));
  await endBuild(files);
  const { size } = files.events;
  for (const eventOffset of [1, size - 1]) {
    await assert.rejects(watchBuildFiles(files, { ...fromStart, eventOffset }), { code: 'OFFSET_INVALID' });
  }
  await assert.rejects(watchBuildFiles(files, { ...fromStart, eventOffset: size + 1 }), {
    code: 'OUT_OF_RANGE',
  });
  await assert.rejects(watchBuildFiles(files, { ...fromStart, logOffset: 1 }), { code: 'OUT_OF_RANGE' });
});

test('without follow a watcher gets what was there when it asked: a verdict only after a whole log', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  await files.log.append(Buffer.from('before'));
  const items = await watchBuildFiles(files, { ...fromStart, follow: false });
  await files.log.append(Buffer.from(' after'));
  await endBuild(files);
  assert.deepEqual((await collect(items)).map(describe), ['log before']);
  const later = await watchAll(files, { follow: false });
  assert.deepEqual(later.map(describe), ['log before after', 'verdict']);
});

test('events alone are read without the log, from any event on, while they come and later', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  const files = await createBuildFiles(directory);
  await files.log.append(Buffer.from('never asked for'));
  await rm(join(directory, 'log'));
  const follower = collect(await readBuildEvents(files.events, { offset: 0, follow: true, signal }));
  for (const message of ['one', 'two']) await appendEvent(files, warningEvent(message));
  await endBuild(files);
  const all = await follower;
  assert.deepEqual(all.map(describe), ['warning one', 'warning two', 'verdict']);
  const later = await openBuildEvents(directory);
  const offset = all[0]?.offset ?? assert.fail();
  const rest = await collect(await readBuildEvents(later, { offset, follow: false, signal }));
  assert.deepEqual(rest, all.slice(1));
  await assert.rejects(readBuildEvents(later, { offset: 1, follow: false, signal }), {
    code: 'OFFSET_INVALID',
  });
  await assert.rejects(readBuildEvents(later, { offset: later.size + 1, follow: false, signal }), {
    code: 'OUT_OF_RANGE',
  });
});

test('a watcher that leaves while nothing happens keeps no file open', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  await files.log.append(Buffer.from('x'));
  const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;
  const before = await openFiles();
  for await (const _item of await watchBuildFiles(files, fromStart)) break;
  // Closing goes through the event loop; a watcher that waits for the files to grow would hold them for good.
  for (let turn = 0; turn < 1000 && (await openFiles()) > before; turn += 1) await setImmediate();
  assert.equal(await openFiles(), before);
  await endBuild(files);
});

test('a watcher whose signal aborts ends with its reason', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  const controller = new AbortController();
  const watching = collect(await watchBuildFiles(files, { ...fromStart, signal: controller.signal }));
  const reason = new Error('gone');
  controller.abort(reason);
  await assert.rejects(watching, reason);
  await endBuild(files);
});

test('an event longer than readers take is refused and not written', async () => {
  await using folder = await createFolder();
  const files = await createBuildFiles(join(folder.path, 'build'));
  await assert.rejects(appendEvent(files, warningEvent('x'.repeat(64 * 1024 * 1024))), { code: 'INFRA' });
  assert.equal(files.events.size, 0);
  await endBuild(files);
});

test('a later run of the service reads a build as it was', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  const files = await createBuildFiles(directory);
  await files.log.append(Buffer.from('all'));
  await appendEvent(files, { at, type: 'state', state: 'running' });
  await endBuild(files);
  const items = await watchAll(await openBuildFiles(directory));
  assert.deepEqual(items.map(describe).sort(), ['log all', 'state', 'verdict']);
  assert.equal(items.at(-1)?.kind, 'event');
});

/** What the end of the service may leave of the events file. */
const leftovers: readonly (readonly [string, string])[] = [
  ['nothing', ''],
  ['whole events', `${JSON.stringify(warningEvent('a'))}\n`],
  ['half an event', '{"at":"2026'],
  [
    'an event without its newline',
    `${JSON.stringify(warningEvent('a'))}\n${JSON.stringify(warningEvent('b'))}`,
  ],
  ['half an event of many chunks', `${JSON.stringify(warningEvent('a'))}\n{"x":"${'y'.repeat(200_000)}`],
];

for (const [title, bytes] of leftovers) {
  test(`a build that the service left with ${title} is ended with a verdict`, async () => {
    await using folder = await createFolder();
    const directory = join(folder.path, 'build');
    const { log, events } = await createBuildFiles(directory);
    await Promise.all([log.end(), events.end()]);
    await appendFile(join(directory, 'events.ndjson'), bytes);
    await endBuildFiles(directory, verdictEvent);
    const items = await watchAll(await openBuildFiles(directory));
    const whole = bytes.split('\n').slice(0, -1);
    assert.deepEqual(items.map(describe), [...whole.map(() => 'warning a'), 'verdict']);
    assert.equal(
      await readFile(join(directory, 'events.ndjson'), 'utf8'),
      [...whole, JSON.stringify(verdictEvent), ''].join('\n'),
    );
  });
}

test('an events file that was damaged is an error of the watcher', async () => {
  await using folder = await createFolder();
  const directory = join(folder.path, 'build');
  const { log, events } = await createBuildFiles(directory);
  await Promise.all([log.end(), events.end()]);
  await writeFile(join(directory, 'events.ndjson'), 'no JSON\n');
  await assert.rejects(watchAll(await openBuildFiles(directory)), {
    code: 'INTERNAL',
    message: /are damaged/,
  });
});

const happenings = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('log' as const), text: fc.string({ minLength: 1, unit: 'binary' }) }),
    fc.record({ kind: fc.constant('event' as const), text: fc.string({ unit: 'binary' }) }),
  ),
  { maxLength: 40 },
);

test('whatever a build says, each watcher gets all of it in its order, and the verdict last', async () => {
  await using folder = await createFolder();
  let builds = 0;
  await fc.assert(
    fc.asyncProperty(happenings, fc.nat(40), async (said, comesAt) => {
      const files = await createBuildFiles(join(folder.path, `build${builds++}`));
      const watchers = [watchAll(files)];
      for (const [index, { kind, text }] of said.entries()) {
        if (index === comesAt) watchers.push(watchAll(files));
        if (kind === 'log') await files.log.append(Buffer.from(text));
        else await appendEvent(files, warningEvent(text));
      }
      await endBuild(files);
      const text = said.flatMap((one) => (one.kind === 'log' ? [Buffer.from(one.text)] : []));
      const events: BuildEvent[] = said.flatMap((one) =>
        one.kind === 'event' ? [warningEvent(one.text)] : [],
      );
      for (const items of await Promise.all(watchers)) {
        const bytes = items.flatMap((item) => (item.kind === 'log' ? [item.data] : []));
        assert.deepEqual(Buffer.concat(bytes), Buffer.concat(text));
        const seen = items.flatMap((item) => (item.kind === 'event' ? [item.event] : []));
        assert.deepEqual(JSON.stringify(seen), JSON.stringify([...events, verdictEvent]));
        assert.equal(items.at(-1)?.kind, 'event');
      }
    }),
    { numRuns: 100 },
  );
});

test('files of a build that find no room leave nothing, not even one that is open', async () => {
  await using disk = await createSmallDisk(1, { inodes: 3 });
  await assert.rejects(createBuildFiles(join(disk.path, 'build')), { code: 'ENOSPC' });
  assert.deepEqual(await readdir(disk.path), []);
  const open = await readdir('/proc/self/fd');
  const paths = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  assert.deepEqual(
    paths.filter((path) => path.startsWith(disk.path)),
    [],
  );
});
