import assert from 'node:assert/strict';
import { readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBuilds, type RunningBuilds } from '../../src/builds/create-builds.ts';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import { createBuildFiles, endBuildFiles } from '../../src/logs/build-files.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { Lease } from '../../src/pool/pool.ts';
import type { BuildStore } from '../../src/store/build-store.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { asleep } from '../scheduler/asleep.ts';
import { type OneEntry, scheduleOne } from '../scheduler/schedule-one.ts';
import { createFolder, queuedRecord, type TemporaryFolder, verdict } from '../store/harness.ts';
import { openDataFolder, timeouts } from './data-folder.ts';
import { simulateVms } from './simulated-vms.ts';

const signal = new AbortController().signal;
const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM scratch\n') };
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

type Parts = { readonly builds: RunningBuilds; readonly buildsDirectory: string; readonly store: BuildStore };

/** A line for one VM, which does nothing; `taken` is its lease. */
async function takeOnly(
  { path }: TemporaryFolder,
  limit: number,
): Promise<{ line: OneEntry<WarmVm>; taken: Lease<WarmVm> }> {
  const vms = await simulateVms([() => undefined, () => undefined], path);
  const line = scheduleOne({ size: 0, frozen: 0, max: 1, limit, create: asleep(() => vms.create()), logger });
  return { line, taken: await line.acquire(signal) };
}

/** No build gets a VM of this one. */
const noVms = (): OneEntry<WarmVm> => {
  const create = (): Promise<WarmVm> => Promise.reject(new Error('No build should come this far.'));
  return scheduleOne({ size: 0, frozen: 0, max: 1, limit: 0, create: asleep(create), logger });
};

/** The use-cases on a real store and scheduler. No build here gets as far as a VM. */
async function createParts(
  { path }: TemporaryFolder,
  { scheduler }: OneEntry<WarmVm>,
  { minFreeBytes = 0, onInsert = () => undefined }: { minFreeBytes?: number; onInsert?: () => void } = {},
): Promise<Parts> {
  const { store: opened, artifacts, buildsDirectory, openRetention } = await openDataFolder(path);
  const insert: BuildStore['insert'] = (record) => {
    onInsert();
    return opened.insert(record);
  };
  const store = { ...opened, insert };
  const builds = createBuilds({
    ...{ store, scheduler, logger, fleet: await fleetOfOne(), buildsDirectory, stagingDirectory: path },
    artifacts,
    retention: await openRetention({ minFreeBytes }),
    ...{
      readDigest: assert.fail,
      disk: new DiskBudget({ directory: path, keepFreeBytes: 0 }),
      vmDiskBytes: 1,
      maxArtifactBytes: 1,
      maxLogBytes: 1024 * 1024,
      minFreeBytes,
      timeouts,
      policy: { customFrontends: true },
      builtinFrontend: false,
    },
    limits: { maxBytes: 1, maxEntries: 1, maxUploadBytes: 1 },
    readiness: () => assert.fail('not asked for'),
  });
  return { builds, buildsDirectory, store };
}

async function assertNothingLeft(directory: string): Promise<void> {
  assert.deepEqual(await readdir(directory), []);
  const descriptors = await readdir('/proc/self/fd');
  const open = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  assert.deepEqual(
    open.filter((path) => path.startsWith(directory)),
    [],
  );
}

test('a build that is refused because the line is full leaves no file and no open file', async () => {
  await using folder = await createFolder();
  const { line, taken } = await takeOnly(folder, 0);
  await using _taken = taken;
  const { builds, buildsDirectory, store } = await createParts(folder, line);
  await using _store = store;
  await assert.rejects(builds.start(localAdmin, request), { code: 'NO_CAPACITY' });
  await assertNothingLeft(buildsDirectory);
});

test('a full line refuses a context before a byte of it is read', async () => {
  await using folder = await createFolder();
  const { line, taken } = await takeOnly(folder, 0);
  await using _taken = taken;
  const { builds, store } = await createParts(folder, line);
  await using _store = store;
  await assert.rejects(builds.stageContexts(localAdmin, signal), { code: 'NO_CAPACITY' });
});

test('a disk that is nearly full refuses builds, before a byte of a context is read', async () => {
  await using folder = await createFolder();
  const { builds, buildsDirectory, store } = await createParts(folder, noVms(), {
    minFreeBytes: Number.MAX_SAFE_INTEGER,
  });
  await using _store = store;
  const refused = { code: 'NO_CAPACITY', message: /nearly full: \d+ bytes are free/ };
  await assert.rejects(builds.stageContexts(localAdmin, signal), refused);
  await assert.rejects(builds.start(localAdmin, request), refused);
  await assertNothingLeft(buildsDirectory);
});

test('a build that cannot be recorded gives its slot back and leaves nothing', async () => {
  await using folder = await createFolder();
  const line = noVms();
  const { builds, buildsDirectory, store } = await createParts(folder, line);
  await store[Symbol.asyncDispose]();
  await assert.rejects(builds.start(localAdmin, request));
  await assertNothingLeft(buildsDirectory);
  assert.deepEqual([line.scheduler.waiting, line.status.leased], [0, 0]);
});

test('a waiting build that cannot be recorded leaves the line', async () => {
  await using folder = await createFolder();
  const { line, taken } = await takeOnly(folder, 1);
  await using _taken = taken;
  const { builds, buildsDirectory, store } = await createParts(folder, line);
  await store[Symbol.asyncDispose]();
  await assert.rejects(builds.start(localAdmin, request));
  assert.equal(line.scheduler.waiting, 0);
  await assertNothingLeft(buildsDirectory);
});

test('a build that asks for another archive entry than the one served is refused, never built with this one', async () => {
  await using folder = await createFolder();
  const { builds, buildsDirectory, store } = await createParts(folder, noVms());
  await using _store = store;
  const other = { ...request, spec: parseSpec({ entry: 'v0.12.5' }) };
  await assert.rejects(builds.start(localAdmin, other), {
    code: 'BUILDKIT_NOT_MADE',
    message: /^This host has no VM image of buildkit-v0\.12\.5 yet; .* POST \/admin\/images\/rebuild with /,
  });
  const unknown = { ...request, spec: parseSpec({ entry: 'buildkit-v0.12.99' }) };
  await assert.rejects(builds.start(localAdmin, unknown), {
    code: 'BUILDKIT_UNKNOWN',
    message: /buildkit-v0\.12\.5/,
  });
  await assertNothingLeft(buildsDirectory);
  const same = { ...request, spec: parseSpec({ entry: queuedRecord().entry.name }) };
  const { id } = await builds.start(localAdmin, same);
  await builds.cancel(localAdmin, id, 'seen enough');
});

test('a service that is stopped while a build is being accepted leaves it to the next start', async () => {
  await using folder = await createFolder();
  let drained: Promise<void> | undefined;
  const onInsert = (): void => {
    builds.abort();
    drained = builds.drain();
  };
  const { builds, store } = await createParts(folder, noVms(), { onInsert });
  await using _store = store;
  const accepted = builds.start(localAdmin, request);
  const { id } = await accepted;
  await drained;
  assert.equal((await store.get(id)).state, 'queued');
});

test('a build that waits says first that it is queued, then at which place', async () => {
  await using folder = await createFolder();
  const { line, taken } = await takeOnly(folder, 1);
  await using _taken = taken;
  const { builds, store } = await createParts(folder, line);
  await using _store = store;
  const { id } = await builds.start(localAdmin, request);
  await builds.cancel(localAdmin, id, 'seen enough');
  const items = await builds.watch(localAdmin, id, { logOffset: 0, eventOffset: 0, follow: true, signal });
  const types = (await Array.fromAsync(items)).map((item) => item.kind === 'event' && item.event.type);
  assert.deepEqual(types, ['state', 'queued', 'verdict']);
});

test('a page of the largest records there are ends at 4 MiB, and says that there are more', async () => {
  await using folder = await createFolder();
  const { builds, store } = await createParts(folder, noVms());
  await using _store = store;
  const buildArgs = Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`A${i}`, 'x'.repeat(65_536)]));
  const record = { ...queuedRecord(), spec: parseSpec({ buildArgs }) };
  for (let count = 0; count < 6; count += 1) await store.insert({ ...record, id: queuedRecord().id });
  const page = await builds.list(localAdmin, { limit: 100 });
  assert.deepEqual([page.builds.length, page.more], [4, true]);
});

test('the events of a build that has ended are read without its log', async () => {
  await using folder = await createFolder();
  const { builds, buildsDirectory, store } = await createParts(folder, noVms());
  await using _store = store;
  const record = queuedRecord({ state: 'interrupted', verdict });
  await store.insert(record);
  const directory = join(buildsDirectory, record.id);
  const { log, events } = await createBuildFiles(directory);
  await Promise.all([log.end(), events.end(), rm(join(directory, 'log'))]);
  await endBuildFiles(directory, { at: '2026-01-02T03:04:05.678Z', type: 'verdict', verdict });
  const seen: unknown[] = [];
  for await (const { event } of await builds.events(localAdmin, record.id, {
    offset: 0,
    follow: true,
    signal,
  }))
    seen.push(event.type);
  assert.deepEqual(seen, ['verdict']);
});

test('what is removed between its opening and its reading is gone, and no fault of ours', async () => {
  await using folder = await createFolder();
  const { builds, buildsDirectory, store } = await createParts(folder, noVms());
  await using _store = store;
  const record = { ...queuedRecord(), state: 'failed' as const, verdict };
  await store.insert(record);
  const { log, events } = await createBuildFiles(join(buildsDirectory, record.id));
  await log.append(Buffer.from('#1 x\n'));
  await Promise.all([log.end(), events.end()]);
  await endBuildFiles(join(buildsDirectory, record.id), { at: '', type: 'verdict', verdict });
  const range = { offset: 0, follow: false, signal };
  const opened = {
    log: await builds.readLog(localAdmin, record.id, range),
    events: await builds.events(localAdmin, record.id, range),
    both: await builds.watch(localAdmin, record.id, { logOffset: 0, eventOffset: 0, follow: false, signal }),
  };
  await rm(join(buildsDirectory, record.id), { recursive: true });
  for (const [what, items] of Object.entries(opened))
    await assert.rejects(Array.fromAsync(items as AsyncIterable<unknown>), { code: 'GONE' }, what);
});
