import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal } from '../../src/builds/journal.ts';
import { recoverBuilds } from '../../src/builds/recover-builds.ts';
import { createBuildFiles } from '../../src/logs/build-files.ts';
import { endRecord, openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, queuedRecord, verdict } from '../store/harness.ts';

test('a build whose record ended and whose events did not gets its verdict as its last event, once', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const options = { store, buildsDirectory: folder.path, maxLogBytes: 1024 * 1024 };
  const logger = { info: assert.fail, warn: assert.fail, error: assert.fail };
  const died = await Journal.open(queuedRecord(), options);
  const whole = await Journal.open(queuedRecord(), options);
  for (const journal of [died, whole]) await journal.begin();
  await whole.finish(verdict, []);
  await store.update(endRecord(died.record, { ...verdict, state: 'succeeded' }, '2026-01-02T03:04:06.000Z'));
  // An event that was half written.
  await died.files.events.append(Buffer.from('{"type":"stat'));
  await died.close();

  for (let start = 0; start < 2; start += 1) {
    await recoverBuilds({ ...options, logger });
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
  const warn = (fields: object): number => warnings.push(fields);
  await recoverBuilds({
    ...{ store, buildsDirectory: folder.path },
    logger: { info: assert.fail, warn, error: assert.fail },
  });
  for (const { id } of [gone, running]) assert.equal((await store.get(id)).state, 'interrupted');
  const said = await readFile(join(folder.path, running.id, 'events.ndjson'), 'utf8');
  assert.match(said, /"type":"verdict".*"state":"interrupted"/);
  assert.deepEqual(
    warnings.map((fields) => 'build' in fields && fields.build),
    [gone.id],
  );
});
