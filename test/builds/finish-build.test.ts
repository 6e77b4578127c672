import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishBuild } from '../../src/builds/finish-build.ts';
import { Journal } from '../../src/builds/journal.ts';
import type { BuildStore } from '../../src/store/build-store.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, queuedRecord, verdict } from '../store/harness.ts';
import { createMemoryLogger } from './memory-logger.ts';

const ending = { verdict, egress: [], seconds: 0 };

/** A real store, the first writes of which fail once the build has begun, as no full disk makes them fail. */
async function finishOn(failures: number) {
  await using folder = await createFolder();
  await using opened = await openBuildStore(folder.path);
  let left = failures;
  const update: BuildStore['update'] = async (record) => {
    left -= 1;
    if (left >= 0) throw Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' });
    await opened.update(record);
  };
  const logger = createMemoryLogger();
  const options = { store: { ...opened, update }, buildsDirectory: folder.path, maxLogBytes: 1e6, logger };
  const journal = await Journal.open(queuedRecord(), options);
  await opened.insert(journal.record);
  const stopping = new AbortController().signal;
  const retention = { makeRoom: assert.fail };
  const error = await finishBuild(journal, ending, { stopping, retention, logger, retryMs: 1 }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return {
    error,
    said: logger.said.map(({ message }) => message),
    stored: await opened.get(journal.record.id),
  };
}

test('an end that a failing disk does not take at once is written once it does, and why it was late is logged', async () => {
  const { error, said, stored } = await finishOn(3);
  assert.equal(error, null);
  assert.deepEqual([stored.state, stored.verdict], [verdict.state, verdict]);
  assert.deepEqual(said, ['the end of a build could not be written yet']);
});

test('a disk that never takes it is given up', async () => {
  const { error, stored } = await finishOn(1000);
  assert.match(String(error), /EIO/);
  assert.equal(stored.state, 'queued');
});
