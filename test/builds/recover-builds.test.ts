import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { recoverBuilds } from '../../src/builds/recover-builds.ts';
import { createBuildLog } from '../../src/logs/build-log.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, queuedRecord } from '../store/harness.ts';

test('what an earlier run left unfinished is interrupted, also where its files are gone', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const [gone, running] = [queuedRecord(), queuedRecord({ state: 'running' })];
  for (const record of [gone, running]) await store.insert(record);
  const { log, events } = await createBuildLog(join(folder.path, running.id));
  await Promise.all([log.end(), events.end()]);
  const warnings: object[] = [];
  const warn = (fields: object): number => warnings.push(fields);
  await recoverBuilds({
    ...{ store, buildsDirectory: folder.path },
    log: { info: assert.fail, warn, error: assert.fail },
  });
  for (const { id } of [gone, running]) assert.equal((await store.get(id)).state, 'interrupted');
  const said = await readFile(join(folder.path, running.id, 'events.ndjson'), 'utf8');
  assert.match(said, /"type":"verdict".*"state":"interrupted"/);
  assert.deepEqual(
    warnings.map((fields) => 'build' in fields && fields.build),
    [gone.id],
  );
});
