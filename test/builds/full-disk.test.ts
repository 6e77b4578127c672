import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal } from '../../src/builds/journal.ts';
import { AppendFile } from '../../src/logs/append-file.ts';
import { openBuildFiles } from '../../src/logs/build-files.ts';
import type { Verdict } from '../../src/model/build.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { createFolder, nothingUsed, queuedRecord } from '../store/harness.ts';
import { createMemoryLogger } from './memory-logger.ts';

const verdict: Verdict = {
  ...{ state: 'failed', exitCode: 1, code: null, failureClass: 'USER_ERROR' },
  message: 'buildctl exited with 1.',
};
const MiB = 1024 * 1024;

test('a build whose end does not fit on a full disk ends once there is room: record, events and log, each once', async () => {
  await using disk = await createSmallDisk(2);
  await using store = await openBuildStore(disk.path);
  const buildsDirectory = join(disk.path, 'builds');
  await mkdir(buildsDirectory);
  const logger = createMemoryLogger();
  const journal = await Journal.open(queuedRecord(), { store, buildsDirectory, logger, maxLogBytes: MiB });
  await store.insert(journal.record);
  await journal.log(Buffer.from('#1 a line\n'));
  await journal.reach('leased', { state: 'running' });

  const ballast = join(disk.path, 'ballast');
  await fillDisk(ballast);
  await assert.rejects(
    async () => {
      // The write-ahead log of the database and the last block of a file may have room for some.
      for (;;) await journal.change({ imageDigest: `sha256:${'a'.repeat(64)}` });
    },
    { code: 'STORAGE_FULL' },
  );
  // Nobody waits for these, and the disk has no room for them.
  for (let place = 1; place < 1000; place += 1) journal.mention({ type: 'queued', place });
  await assert.rejects(journal.event({ type: 'warning', message: 'x' }), { code: 'STORAGE_FULL' });
  assert.deepEqual(
    logger.said.map(({ level, message }) => `${level}: ${message}`),
    ['warn: events of a build could not be written'],
  );
  await assert.rejects(journal.finish(verdict, nothingUsed), { code: 'STORAGE_FULL' });
  await assert.rejects(journal.finish(verdict, nothingUsed), { code: 'STORAGE_FULL' });

  await rm(ballast);
  await journal.finish(verdict, nothingUsed);
  const { id } = journal.record;
  assert.equal((await store.get(id)).state, 'failed');
  const signal = new AbortController().signal;
  const { log, events } = await openBuildFiles(join(buildsDirectory, id));
  const read = async (file: typeof log): Promise<string> =>
    Buffer.concat(await Array.fromAsync(file.read({ offset: 0, follow: true, signal }))).toString();
  assert.equal(await read(log), '#1 a line\n');
  assert.equal((await read(events)).match(/"type":"verdict"/g)?.length, 1);
});

test('what a full disk does not take of a record is not said of the build either', async () => {
  await using disk = await createSmallDisk(2);
  await using store = await openBuildStore(disk.path);
  const buildsDirectory = join(disk.path, 'builds');
  await mkdir(buildsDirectory);
  const options = { store, buildsDirectory, logger: createMemoryLogger(), maxLogBytes: MiB };
  const journal = await Journal.open(queuedRecord(), options);
  await store.insert(journal.record);
  const ballast = join(disk.path, 'ballast');
  await fillDisk(ballast);
  const changeOn = async (): Promise<void> => {
    for (let size = 0; ; size += 1)
      await journal.change({ artifact: { format: 'oci', digest: `sha256:${'a'.repeat(64)}`, size } });
  };
  await assert.rejects(changeOn, { code: 'STORAGE_FULL' });
  const { id, artifact } = journal.record;
  assert.deepEqual(artifact, (await store.get(id)).artifact);
  await rm(ballast);
  await journal.finish(verdict, nothingUsed);
  assert.deepEqual((await store.get(id)).artifact, artifact);
});

test('a build whose log the disk lost at its end still ends, and says so once it has its verdict', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const options = { store, buildsDirectory: folder.path, logger: createMemoryLogger(), maxLogBytes: MiB };
  const journal = await Journal.open(queuedRecord(), options);
  await store.insert(journal.record);
  // A device that takes no sync, in place of a disk that fails.
  await journal.files.log.end();
  const log = await AppendFile.reopen('/dev/full');
  Object.assign(journal, { files: { ...journal.files, log } });
  await assert.rejects(journal.finish(verdict, nothingUsed), {
    code: 'INTERNAL',
    message: /did not take all/,
  });
  assert.equal((await store.get(journal.record.id)).state, 'failed');
  const { events } = journal.files;
  const signal = new AbortController().signal;
  const said = Buffer.concat(await Array.fromAsync(events.read({ offset: 0, follow: true, signal })));
  assert.match(said.toString(), /"type":"verdict"[^\n]*\n$/);
});

test('a build that prints more than is kept of one is told so, and still gets its verdict', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const journal = await Journal.open(queuedRecord(), {
    store,
    buildsDirectory: folder.path,
    maxLogBytes: MiB,
    logger: createMemoryLogger(),
  });
  await store.insert(journal.record);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  for (let written = 0; written + chunk.length < MiB / 2; written += chunk.length) await journal.log(chunk);
  const many = async (): Promise<void> => {
    for (let round = 0; round < 100; round += 1) await journal.status({ logs: [chunk.toString()] });
  };
  await assert.rejects(many, { code: 'LOG_TOO_LARGE', message: /1048576 bytes/ });
  await assert.rejects(journal.log(chunk), { code: 'LOG_TOO_LARGE' });
  await journal.finish(verdict, nothingUsed);
  const { log, events } = journal.files;
  assert.ok(log.size + events.size < MiB + 2 * chunk.length, `${log.size} + ${events.size}`);
  assert.equal((await store.get(journal.record.id)).state, 'failed');
});
