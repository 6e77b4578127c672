import assert from 'node:assert/strict';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createBuilds, type RunningBuilds } from '../../src/builds/create-builds.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import { localAdmin } from '../../src/model/caller.ts';
import type { ContextStaging } from '../../src/model/context.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import { inChunks } from '../context/staging.ts';
import { file, tar } from '../context/tar.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { asleep } from '../scheduler/asleep.ts';
import { readiness } from '../simulated-service.ts';
import { createFolder } from '../store/harness.ts';
import { openDataFolder, timeouts } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';
import { type Script, simulateVms } from './simulated-vms.ts';

const entries = ['v0.20.2', 'buildkit-v0.12.5'];
const { signal } = new AbortController();
const spec = parseSpec({});

type Opened = AsyncDisposable & {
  readonly builds: RunningBuilds;
  readonly buildsDirectory: string;
  readonly stagingDirectory: string;
};

/** The real use-cases, on VMs of two entries that follow scripts, one VM at a time. */
async function open(scripts: readonly Script[], { limit = 10 } = {}): Promise<Opened> {
  await using undo = new AsyncDisposableStack();
  const { path } = undo.use(await createFolder());
  const { path: stagingDirectory } = undo.use(await createFolder());
  const logger = createMemoryLogger();
  const { store, artifacts, buildsDirectory, openRetention } = undo.use(await openDataFolder(path));
  const retention = undo.use(await openRetention());
  const vms = undo.use(await simulateVms(scripts, stagingDirectory));
  const scheduler = new Scheduler({
    ...{
      logger,
      max: 1,
      limit,
      kept: new Map(),
      create: (entry, linked) => asleep(() => vms.create(entry))(linked),
    },
  });
  undo.defer(() => scheduler.close());
  const builds = createBuilds({
    ...{ store, artifacts, retention, scheduler, logger, buildsDirectory, stagingDirectory },
    ...{ fleet: await fleetOfOne('buildkit-v0.12.5'), minFreeBytes: 0, timeouts },
    ...{ maxArtifactBytes: 1, maxLogBytes: 1024 * 1024, vmDiskBytes: 1, builtinFrontend: false },
    readDigest: assert.fail,
    disk: new DiskBudget({ directory: path, keepFreeBytes: 0 }),
    policy: { customFrontends: true },
    limits: { maxBytes: 1e6, maxEntries: 10, maxUploadBytes: 1e6 },
    readiness: () => readiness(true),
  });
  undo.defer(async () => {
    builds.abort();
    await builds.drain();
  });
  scheduler.start();
  const resources = undo.move();
  return {
    ...{ builds, buildsDirectory, stagingDirectory },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function stage(builds: RunningBuilds): Promise<ContextStaging> {
  const staging = await builds.stageContexts(localAdmin, signal);
  await staging.add(null, { bytes: inChunks(tar(file('Dockerfile', 'FROM scratch\n'))), declared: null });
  return staging;
}

/** How many files there are of staged contexts, whatever their names. */
async function images({ stagingDirectory, buildsDirectory }: Opened): Promise<number> {
  const folders = [stagingDirectory, buildsDirectory];
  const names = await Promise.all(folders.map((folder) => readdir(folder, { recursive: true })));
  const paths = folders.flatMap((folder, index) => (names[index] ?? []).map((name) => join(folder, name)));
  const found = paths.filter((path) => path.endsWith('.erofs')).map(async (path) => (await stat(path)).ino);
  return new Set(await Promise.all(found)).size;
}

const says =
  (line: string): Script =>
  (guest) => {
    guest.log(`#1 [internal] load\n#5 0.1 ${line}\n`);
    guest.end();
  };

test('one upload is built by each entry, from one staged context, which goes with the last build (simulated VMs)', async () => {
  await using opened = await open([says('go 1.24'), says('go 1.17')]);
  const { builds } = opened;
  const context = await stage(builds);
  const { id, builds: made } = await builds.startMatrix(localAdmin, {
    ...{ spec, context, dockerfile: null, entries },
  });
  assert.equal(await images(opened), 1);
  for (const build of made) {
    const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
    for await (const _item of await builds.watch(localAdmin, build.id, range));
    const record = await builds.get(localAdmin, build.id);
    assert.deepEqual(
      [record.matrix, record.entry.name, record.spec.entry, record.context?.entries],
      [id, build.entry, build.entry, 1],
    );
  }
  const matrix = await builds.matrix(localAdmin, id);
  assert.equal(matrix.state, 'succeeded');
  assert.deepEqual(
    matrix.builds.map(({ entry, state, firstDifference }) => ({ entry, state, firstDifference })),
    [
      { entry: 'buildkit-v0.20.2', state: 'succeeded', firstDifference: null },
      {
        ...{ entry: 'buildkit-v0.12.5', state: 'succeeded' },
        firstDifference: { of: 'own', line: 2, text: '#5 0.1 go 1.17' },
      },
    ],
  );
  assert.ok(matrix.builds.every(({ seconds }) => seconds !== null));
  await builds.drain();
  assert.equal(await images(opened), 0);
});

test('where the line has room for a part of a matrix only, none of it is there (simulated VMs)', async () => {
  await using opened = await open([() => undefined, () => undefined], { limit: 0 });
  const { builds } = opened;
  const request = { spec, dockerfile: Buffer.from('FROM scratch\n') };
  const context = await stage(builds);
  await assert.rejects(builds.startMatrix(localAdmin, { ...request, context, entries }), {
    code: 'NO_CAPACITY',
  });
  assert.deepEqual((await builds.list(localAdmin, { limit: 10 })).builds, []);
  assert.deepEqual(await readdir(opened.buildsDirectory), []);
  assert.equal(await images(opened), 0);
});

test('a build that is run again has the same named contexts, in full; its record shows no query (simulated VMs)', async () => {
  const given: (readonly string[])[] = [];
  const script =
    (then: 'lose' | 'end'): Script =>
    (guest) => {
      given.push(guest.words);
      guest[then]();
    };
  await using opened = await open([script('lose'), script('end')]);
  const { builds } = opened;
  const context = await stage(builds);
  await context.add('lib', { bytes: inChunks(tar(file('a'))), declared: null });
  const source = 'https://h.test/a.git?sig=5ec7e7#main';
  const request = { spec: parseSpec({ buildContexts: { src: source } }), context, dockerfile: null };
  const { id } = await builds.start(localAdmin, request);
  const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
  for await (const _item of await builds.watch(localAdmin, id, range));
  await builds.drain();
  const record = await builds.get(localAdmin, id);
  assert.deepEqual([record.state, given.length], ['succeeded', 2]);
  for (const words of given)
    for (const word of ['--opt=context:lib=local:named-1', `--opt=context:src=${source}`])
      assert.ok(words.includes(word), words.join(' '));
  assert.doesNotMatch(JSON.stringify(record), /5ec7e7/);
  assert.equal(await images(opened), 0);
});

test('a line of any length is compared, once: who looks again reads no log (simulated VMs)', async () => {
  await using opened = await open([says('1'.repeat(200_000)), says('2'.repeat(200_000))]);
  const { builds, buildsDirectory } = opened;
  const context = await stage(builds);
  const request = { spec, context, dockerfile: null, entries };
  const { id, builds: made } = await builds.startMatrix(localAdmin, request);
  for (const build of made) {
    const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
    for await (const _item of await builds.watch(localAdmin, build.id, range));
  }
  const looks = await Promise.all([builds.matrix(localAdmin, id), builds.matrix(localAdmin, id)]);
  for (const { id: build } of made) await rm(join(buildsDirectory, build), { recursive: true });
  for (const matrix of [...looks, await builds.matrix(localAdmin, id)])
    assert.equal(matrix.builds[1]?.firstDifference?.line, 2);
});
