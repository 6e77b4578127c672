import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { hasInput, keepInput } from '../../src/builds/build-input.ts';
import { Journal } from '../../src/builds/journal.ts';
import { runBuild } from '../../src/builds/run-build.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import { AppendFile } from '../../src/logs/append-file.ts';
import { BuildSecrets } from '../../src/model/build-secrets.ts';
import { KilnError } from '../../src/model/error.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, queuedRecord } from '../store/harness.ts';
import { timeouts } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';

test('a build that has ended needs its input no more, also where the disk does not take the end of its log', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const logger = createMemoryLogger();
  const buildsDirectory = join(folder.path, 'builds');
  await mkdir(buildsDirectory);
  const journal = await Journal.open(queuedRecord(), { store, buildsDirectory, maxLogBytes: 1e6, logger });
  await store.insert(journal.record);
  await keepInput(journal.directory, { context: null, sources: {}, dockerfile: Buffer.from('FROM a\n') });
  await journal.files.log.end();
  // A device that takes no sync, in place of a disk that fails.
  journal.files = { ...journal.files, log: await AppendFile.reopen('/dev/full') };
  const stopping = new AbortController().signal;
  const lease = Promise.reject<never>(new KilnError('CANCELLED', 'enough'));
  lease.catch(() => undefined);
  const run = runBuild(
    { journal, secrets: BuildSecrets.none, lease },
    {
      ...{ scheduler: { enterAgain: () => assert.fail() }, retention: { makeRoom: assert.fail } },
      artifacts: await openArtifactStore(join(folder.path, 'artifacts')),
      readDigest: assert.fail,
      disk: new DiskBudget({ directory: folder.path, keepFreeBytes: 0 }),
      ...{ maxArtifactBytes: 1, vmDiskBytes: 1, timeouts, logger, stopping },
    },
    stopping,
  );
  await assert.rejects(run, { code: 'INTERNAL' });
  assert.equal((await store.get(journal.record.id)).state, 'cancelled');
  assert.equal(await hasInput(journal.directory), false);
});
