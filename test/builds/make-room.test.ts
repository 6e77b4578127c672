import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBuilds, type RunningBuilds } from '../../src/builds/create-builds.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import { type BuildRecord, isTerminal } from '../../src/model/build.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { asleep } from '../scheduler/asleep.ts';
import { scheduleOne } from '../scheduler/schedule-one.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { openDataFolder, timeouts } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';
import { type Script, simulateVms } from './simulated-vms.ts';

const MiB = 1024 * 1024;
const { signal } = new AbortController();
const dockerfile = Buffer.from('FROM scratch\n');
const request = { spec: parseSpec({ outputs: [{ type: 'oci' }] }), context: null, dockerfile };
const range = { offset: 0, follow: true, signal };

/** The use-cases on a disk of their own, with simulated VMs. */
async function createService(path: string, scripts: readonly Script[]) {
  await using undo = new AsyncDisposableStack();
  const vms = undo.use(await simulateVms(scripts, path));
  const { store, artifacts, buildsDirectory, openRetention } = undo.use(await openDataFolder(path));
  const logger = createMemoryLogger();
  const minFreeBytes = 4 * MiB;
  const retention = undo.use(await openRetention({ minFreeBytes, logger }));
  const pool = scheduleOne({ size: 0, frozen: 0, max: 1, create: asleep(() => vms.create()), logger });
  undo.defer(() => pool.close());
  const { scheduler } = pool;
  const builds = createBuilds({
    ...{ store, artifacts, retention, scheduler, logger, buildsDirectory, minFreeBytes },
    ...{ stagingDirectory: path, fleet: await fleetOfOne() },
    ...{ maxArtifactBytes: MiB, maxLogBytes: 100 * MiB, timeouts },
    ...{
      readDigest: assert.fail,
      disk: new DiskBudget({ directory: path, keepFreeBytes: 0 }),
      vmDiskBytes: MiB,
    },
    policy: { customFrontends: true },
    builtinFrontend: false,
    limits: { maxBytes: MiB, maxEntries: 10, maxUploadBytes: MiB },
    readiness: () => assert.fail('not asked for'),
  });
  undo.defer(() => builds.drain());
  const resources = undo.move();
  return { builds, logger, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

async function waitForEnd(builds: RunningBuilds, id: string): Promise<BuildRecord> {
  for (;;) {
    const record = await builds.get(localAdmin, id);
    if (isTerminal(record.state)) return record;
    await sleep(20);
  }
}

test('a disk that fills while a build runs lets old builds go: its end is recorded, the next build is taken, and of the old ones the record is kept (simulated VMs)', async () => {
  await using disk = await createSmallDisk(16);
  const ballast = join(disk.path, 'ballast');
  const largeLog: Script = async (guest) => {
    await guest.writeArtifact(Buffer.alloc(1024));
    guest.log(`${'x'.repeat(3 * MiB)}\n`);
    guest.end({ artifactBytes: 1024 });
  };
  const fills: Script = async (guest) => {
    await fillDisk(ballast);
    guest.end({ exitCode: 1 });
  };
  await using service = await createService(disk.path, [largeLog, largeLog, fills, (guest) => guest.end()]);
  const { builds } = service;
  const ended: BuildRecord[] = [];
  for (let count = 0; count < 2; count += 1) {
    const { id } = await builds.start(localAdmin, request);
    ended.push(await waitForEnd(builds, id));
  }
  const [first = assert.fail(), second = assert.fail()] = ended;
  assert.deepEqual([first.state, second.state], ['succeeded', 'succeeded'], first.verdict?.message);
  await builds.artifact(localAdmin, first.id);

  const { id } = await builds.start(localAdmin, request);
  const full = await waitForEnd(builds, id);
  assert.equal(full.state, 'failed');
  const gone = { code: 'GONE', message: new RegExp(`^What build ${first.id} left was removed`) };
  await assert.rejects(builds.readLog(localAdmin, first.id, range), gone);
  await assert.rejects(builds.watch(localAdmin, first.id, { ...range, logOffset: 0, eventOffset: 0 }), gone);
  await assert.rejects(builds.events(localAdmin, first.id, range), gone);
  assert.deepEqual(await builds.get(localAdmin, first.id), first);

  // Both had the same artifact, and both had to go.
  await assert.rejects(builds.artifact(localAdmin, second.id), { code: 'GONE' });
  const last = await builds.start(localAdmin, request);
  assert.ok(isTerminal((await waitForEnd(builds, last.id)).state));
  await rm(ballast);
});
