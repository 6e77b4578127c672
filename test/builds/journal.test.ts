import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { Journal } from '../../src/builds/journal.ts';
import { AppendFile } from '../../src/logs/append-file.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, nothingUsed, queuedRecord, verdict } from '../store/harness.ts';
import { createMemoryLogger } from './memory-logger.ts';

const { signal } = new AbortController();
const logger = createMemoryLogger();

test('nothing follows the verdict, also of what is still being written down when the build ends', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const journal = await Journal.open(queuedRecord(), {
    store,
    buildsDirectory: folder.path,
    maxLogBytes: 1e9,
    logger,
  });
  await store.insert(journal.record);
  const writeOn = async (): Promise<void> => {
    for (;;) await journal.event({ type: 'warning', message: 'one more' });
  };
  const writing = writeOn();
  await journal.event({ type: 'warning', message: 'the last one before the end' });
  await Promise.all([journal.finish(verdict, nothingUsed), assert.rejects(writing)]);
  await assert.rejects(journal.change({ state: 'running' }));
  const chunks = journal.files.events.read({ offset: 0, follow: true, signal });
  const lines = Buffer.concat(await Array.fromAsync(chunks))
    .toString()
    .trimEnd()
    .split('\n');
  assert.ok(lines.length > 3);
  assert.match(lines.at(-1) ?? '', /"type":"verdict"/);
  assert.equal(journal.record.state, verdict.state);
});

test('a build that is not begun leaves nothing, also where the disk does not take the end of its files', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const journal = await Journal.open(queuedRecord(), {
    store,
    buildsDirectory: folder.path,
    maxLogBytes: 1e6,
    logger,
  });
  await journal.files.log.end();
  // A device that takes no sync, in place of a disk that fails.
  Object.assign(journal, { files: { ...journal.files, log: await AppendFile.reopen('/dev/full') } });
  await journal.discard();
  assert.ok(!(await readdir(folder.path)).includes(journal.record.id));
});
