import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal } from '../../src/builds/journal.ts';
import { recoverBuilds } from '../../src/builds/recover-builds.ts';
import { createBuildFiles } from '../../src/logs/build-files.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { endRecord, openBuildStore } from '../../src/store/build-store.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { createFolder, nothingUsed, queuedRecord, verdict } from '../store/harness.ts';
import { openDataFolder } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';

const MiB = 1024 * 1024;

/** Where nothing is kept for long. */
const retention = { ended: (): void => undefined };

test('a build whose record ended and whose events did not gets its verdict as its last event, once', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const logger = { info: assert.fail, warn: assert.fail, error: assert.fail };
  const options = { store, retention, buildsDirectory: folder.path, maxLogBytes: 1024 * 1024, logger };
  const died = await Journal.open(queuedRecord(), options);
  const whole = await Journal.open(queuedRecord(), options);
  for (const journal of [died, whole]) await store.insert(journal.record);
  await whole.finish(verdict, nothingUsed);
  await store.update(endRecord(died.record, { ...verdict, state: 'succeeded' }, '2026-01-02T03:04:06.000Z'));
  // An event that was half written.
  await died.files.events.append(Buffer.from('{"type":"stat'));
  await died.close();

  for (let start = 0; start < 2; start += 1) {
    await recoverBuilds(options);
    for (const [{ record }, state] of [
      [died, 'succeeded'],
      [whole, verdict.state],
    ] as const) {
      const text = await readFile(join(folder.path, record.id, 'events.ndjson'), 'utf8');
      const events = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual(
        events.map(({ type, verdict: ended }) => ended?.state ?? type),
        ['state', 'warning', state],
      );
    }
  }
});

test('what an earlier run left unfinished is interrupted, also where its files are gone', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const [gone, running] = [queuedRecord(), queuedRecord({ state: 'running' })];
  for (const record of [gone, running]) await store.insert(record);
  const { log, events } = await createBuildFiles(join(folder.path, running.id));
  await Promise.all([log.end(), events.end()]);
  const warnings: object[] = [];
  const told: object[] = [];
  const warn = (fields: object): number => warnings.push(fields);
  await recoverBuilds({
    ...{ store, retention, buildsDirectory: folder.path },
    logger: { info: (fields) => told.push(fields), warn, error: assert.fail },
  });
  assert.deepEqual(
    told.map((fields) => 'state' in fields && fields.state),
    ['interrupted', 'interrupted'],
  );
  for (const { id } of [gone, running]) assert.equal((await store.get(id)).state, 'interrupted');
  const said = await readFile(join(folder.path, running.id, 'events.ndjson'), 'utf8');
  assert.match(said, /"type":"verdict".*"state":"interrupted"/);
  assert.deepEqual(
    warnings.map((fields) => 'build' in fields && fields.build),
    [gone.id],
  );
});

test('nothing is said at a start of builds whose files were removed to make room', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const logger = { info: assert.fail, warn: assert.fail, error: assert.fail };
  await store.insert(endRecord(queuedRecord(), verdict, '2026-01-02T03:04:06.000Z'));
  assert.deepEqual(await recoverBuilds({ store, retention, buildsDirectory: folder.path, logger }), []);
});

test('however large records are, few of them are in memory at once; none is left out', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const logger = { info: assert.fail, warn: assert.fail, error: assert.fail };
  const options = { store, retention, buildsDirectory: folder.path, maxLogBytes: 1024 * 1024, logger };
  const spec = parseSpec({ buildArgs: { A: 'x'.repeat(60_000), B: 'x'.repeat(60_000) } });
  const ids: string[] = [];
  for (let count = 0; count < 80; count += 1) {
    const record = endRecord(queuedRecord({ spec }), verdict, '2026-01-02T03:04:06.000Z');
    await store.insert(record);
    await (await Journal.open(record, options)).close();
    ids.push(record.id);
  }
  let largest = 0;
  const list: typeof store.list = async (page) => {
    const found = await store.list(page);
    largest = Math.max(largest, JSON.stringify(found.builds).length);
    return found;
  };
  await recoverBuilds({ ...options, store: { ...store, list } });
  assert.ok(largest < 5 * 1024 * 1024, `${largest}`);
  for (const id of ids) {
    const events = await readFile(join(folder.path, id, 'events.ndjson'), 'utf8');
    assert.match(events, /"type":"verdict"/);
  }
});

test('on a disk that is full at the start old builds go, so that what an earlier run left unfinished can be ended', async () => {
  await using disk = await createSmallDisk(16);
  await using data = await openDataFolder(disk.path);
  const { store, buildsDirectory } = data;
  const logger = createMemoryLogger();
  const options = { store, buildsDirectory, maxLogBytes: 100 * MiB, logger };
  const old = await Journal.open(queuedRecord(), options);
  await store.insert(old.record);
  await old.log(Buffer.alloc(8 * MiB, 'x'));
  await old.finish(verdict, nothingUsed);
  const unfinished = await Journal.open(queuedRecord(), options);
  await store.insert(unfinished.record);
  await unfinished.close();
  await fillDisk(join(disk.path, 'ballast'));

  await using opened = await data.openRetention({ minFreeBytes: 4 * MiB, logger });
  await recoverBuilds({ ...options, retention: opened });
  assert.equal((await store.get(unfinished.record.id)).state, 'interrupted');
  const events = await readFile(join(buildsDirectory, unfinished.record.id, 'events.ndjson'), 'utf8');
  assert.match(events, /"type":"verdict"/);
  assert.deepEqual(await readdir(buildsDirectory), [unfinished.record.id]);
});

test('a build that is interrupted at the start is kept and let go of as any that ended', async () => {
  await using folder = await createFolder();
  await using data = await openDataFolder(folder.path);
  const { store, buildsDirectory } = data;
  const options = { store, buildsDirectory, maxLogBytes: MiB, logger: createMemoryLogger() };
  const journals = [queuedRecord(), queuedRecord()].map((record) => Journal.open(record, options));
  for (const journal of await Promise.all(journals)) {
    await store.insert(journal.record);
    await journal.close();
  }
  {
    const limits = { maxBuilds: 1, maxBytes: 100 * MiB, maxRecords: 10 };
    await using opened = await data.openRetention({ limits });
    await recoverBuilds({ ...options, retention: opened });
  }
  assert.equal((await readdir(buildsDirectory)).length, 1);
});
