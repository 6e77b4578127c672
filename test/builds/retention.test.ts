import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { Journal } from '../../src/builds/journal.ts';
import type { Retention } from '../../src/builds/retention.ts';
import type { Artifact, BuildRecord } from '../../src/model/build.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { createFolder, nothingUsed, queuedRecord, verdict } from '../store/harness.ts';
import { type DataFolder, openDataFolder } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const { signal } = new AbortController();

type Parts = DataFolder & {
  /** A build that ran and ended, with a log of this size and an artifact of these bytes. */
  addBuild(logBytes: number, artifact?: Buffer): Promise<BuildRecord>;
  /** Ids of the builds whose files are there, by the order in which they came. */
  listFiles(): Promise<string[]>;
};

async function createParts(path: string): Promise<Parts> {
  const folder = await openDataFolder(path);
  const { store, artifacts, buildsDirectory } = folder;
  return {
    ...folder,
    async addBuild(logBytes, artifact) {
      const options = { store, buildsDirectory, maxLogBytes: 100 * MiB, logger: createMemoryLogger() };
      const journal = await Journal.open(queuedRecord({ context: null }), options);
      await store.insert(journal.record);
      await journal.log(Buffer.alloc(logBytes, 'x'));
      if (artifact) await keep(artifacts, journal, artifact);
      await journal.finish(verdict, nothingUsed);
      return journal.record;
    },
    listFiles: async () => (await readdir(buildsDirectory)).toSorted(),
  };
}

async function keep(artifacts: ArtifactStore, journal: Journal, bytes: Buffer): Promise<void> {
  const file = artifacts.incomingPath(journal.record.id);
  // An empty tar with something before its end would not pass: all that is asked here is that it is a tar.
  await writeFile(file, Buffer.concat([tarHeader(bytes.length), bytes, Buffer.alloc(1024)]));
  const claim = { file, format: 'oci' as const, bytes: 512 + bytes.length + 1024 };
  await artifacts.keep(claim, (artifact) => journal.change({ artifact }), signal);
}

function tarHeader(size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write('file', 0);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

const digestsOf = (records: readonly BuildRecord[]): Artifact['digest'][] =>
  records.flatMap(({ artifact }) => artifact?.digest ?? []).toSorted();

/** Whatever was asked of it in the background is done. */
async function settle(retention: Retention): Promise<void> {
  await retention[Symbol.asyncDispose]();
}

test('of more builds than are kept the files of those that ended first go, and their records stay', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const limits = { maxBuilds: 2, maxBytes: 1000 * MiB, maxRecords: 1000 };
  const retention = await parts.openRetention({ limits });
  const records: BuildRecord[] = [];
  for (let count = 0; count < 4; count += 1) {
    const record = await parts.addBuild(KiB, randomBytes(KiB));
    records.push(record);
    retention.ended(record);
  }
  await settle(retention);
  assert.deepEqual(
    await parts.listFiles(),
    records.slice(2).map(({ id }) => id),
  );
  assert.deepEqual((await parts.artifacts.list()).toSorted(), digestsOf(records.slice(2)));
  for (const record of records) assert.deepEqual(await parts.store.get(record.id), record);
});

test('an artifact that several builds put out goes with the last of them', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const same = randomBytes(KiB);
  const [first, second] = [await parts.addBuild(1, same), await parts.addBuild(1, same)];
  assert.deepEqual(first.artifact, second.artifact);
  const limits = { maxBytes: 1000 * MiB, maxRecords: 1000 };
  const retention = await parts.openRetention({ limits: { ...limits, maxBuilds: 1 } });
  assert.deepEqual(await parts.listFiles(), [second.id]);
  assert.deepEqual(await parts.artifacts.list(), digestsOf([second]));
  const third = await parts.addBuild(1);
  retention.ended(third);
  await settle(retention);
  assert.deepEqual(await parts.listFiles(), [third.id]);
  assert.deepEqual(await parts.artifacts.list(), []);
});

test('an artifact that a running build has put out too stays', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const same = randomBytes(KiB);
  await parts.addBuild(1, same);
  const options = { ...parts, maxLogBytes: MiB, logger: createMemoryLogger() };
  const running = await Journal.open(queuedRecord({ context: null }), options);
  await parts.store.insert(running.record);
  await running.change({ state: 'running' });
  await keep(parts.artifacts, running, same);
  const last = await parts.addBuild(1);
  const limits = { maxBuilds: 1, maxBytes: 1000 * MiB, maxRecords: 1000 };
  const retention = await parts.openRetention({ limits });
  await settle(retention);
  assert.deepEqual(await parts.listFiles(), [running.record.id, last.id]);
  assert.deepEqual(await parts.artifacts.list(), digestsOf([running.record]));
  await running.close();
});

test('at the start what no record names is removed, and half of a removal is made whole', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const [halfRemoved, kept] = [await parts.addBuild(KiB, randomBytes(KiB)), await parts.addBuild(KiB)];
  await rm(join(parts.buildsDirectory, halfRemoved.id, 'log'));
  await mkdir(join(parts.buildsDirectory, 'never-begun'));
  const orphan = createHash('sha256').update('orphan').digest('hex');
  await writeFile(parts.artifacts.path(`sha256:${orphan}`), 'orphan');
  const limits = { maxBytes: 1000 * MiB, maxRecords: 1000 };
  await settle(await parts.openRetention({ limits: { ...limits, maxBuilds: 2 } }));
  assert.deepEqual(await parts.listFiles(), [halfRemoved.id, kept.id]);
  assert.deepEqual(await parts.artifacts.list(), digestsOf([halfRemoved]));
  await settle(await parts.openRetention({ limits: { ...limits, maxBuilds: 1 } }));
  assert.deepEqual(await parts.listFiles(), [kept.id]);
  assert.deepEqual(await parts.artifacts.list(), []);
});

test('records of removed builds are kept up to a number of their own', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const records: BuildRecord[] = [];
  for (let count = 0; count < 5; count += 1) records.push(await parts.addBuild(1));
  await settle(await parts.openRetention({ limits: { maxBuilds: 1, maxBytes: 1000 * MiB, maxRecords: 3 } }));
  const { builds: left } = await parts.store.list({ tenant: null, limit: 10 });
  assert.deepEqual(
    left.map(({ id }) => id),
    records
      .slice(2)
      .map(({ id }) => id)
      .toReversed(),
  );
});

test('a full disk lets the oldest builds go until there is room; where that would not help it refuses and keeps them', async () => {
  await using disk = await createSmallDisk(16);
  await using parts = await createParts(disk.path);
  const minFreeBytes = 3 * MiB;
  const retention = await parts.openRetention({ minFreeBytes });
  const records: BuildRecord[] = [];
  for (let count = 0; count < 4; count += 1) {
    records.push(await parts.addBuild(MiB, randomBytes(MiB)));
  }
  for (const record of records) retention.ended(record);
  await settle(retention);
  const ids = records.map(({ id }) => id);
  assert.deepEqual(await parts.listFiles(), ids);

  // To the last byte: not even a record can be written.
  const ballast = join(disk.path, 'ballast');
  await fillDisk(ballast);
  await retention.makeRoom();
  assert.deepEqual(await parts.listFiles(), ids.slice(2));
  assert.deepEqual((await parts.artifacts.list()).toSorted(), digestsOf(records.slice(2)));
  assert.deepEqual(
    (await parts.store.listKept()).map(({ id }) => id),
    ids.slice(2),
  );
  await parts.addBuild(MiB);

  // Room for the work of a build is made too, where it can be.
  await fillDisk(ballast);
  const spacious = await parts.openRetention({ minFreeBytes, buildRoomBytes: 1.5 * MiB });
  assert.deepEqual(await parts.listFiles(), []);
  await spacious.makeRoom();
  await rm(ballast);
  const last = await parts.addBuild(MiB);

  // Something else takes all the room, more than there is to give.
  const greedy = await parts.openRetention({ minFreeBytes: 100 * MiB });
  await assert.rejects(greedy.makeRoom(), { code: 'NO_CAPACITY' });
  assert.deepEqual(await parts.listFiles(), [last.id]);
});

test('what keeps old builds from being removed is logged, and no build is refused for it while there is room', async () => {
  await using folder = await createFolder();
  await using parts = await createParts(folder.path);
  const logger = createMemoryLogger();
  let forget = parts.store.forget;
  const store = { ...parts.store, forget: (max: number) => forget(max) };
  const retention = await parts.openRetention({ store, logger, buildRoomBytes: Number.MAX_SAFE_INTEGER });
  forget = () => Promise.reject(new Error('the disk is broken'));
  await retention.makeRoom();
  const told = logger.said.map(({ level, message, fields }) => [
    level,
    message,
    'error' in fields && String(fields.error),
  ]);
  assert.deepEqual(told, [['error', 'old builds could not be removed', 'Error: the disk is broken']]);
});
