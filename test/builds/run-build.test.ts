import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { hasInput, keepInput } from '../../src/builds/build-input.ts';
import { Journal } from '../../src/builds/journal.ts';
import { runBuild } from '../../src/builds/run-build.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import type { EgressDestination } from '../../src/model/build.ts';
import { BuildSecrets } from '../../src/model/build-secrets.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { asleep } from '../scheduler/asleep.ts';
import { scheduleOne } from '../scheduler/schedule-one.ts';
import { createFolder, queuedRecord } from '../store/harness.ts';
import { timeouts } from './data-folder.ts';
import { assertAttempts, readEvents, readLogs } from './journal-files.ts';
import { assertSaid, createMemoryLogger } from './memory-logger.ts';
import type { Case } from './run-case.ts';
import { type Script, simulatedEntry, simulateVms } from './simulated-vms.ts';

const emptyTar = Buffer.alloc(1024);
const cancelled = new KilnError('CANCELLED', 'enough');
const draining = new KilnError('DRAINING', 'The service was stopped.');

const succeed: Script = (guest) => {
  guest.log('#1 done\n');
  guest.end();
};
const sayAndLose: Script = async (guest) => {
  guest.log('#1 [internal]\n');
  await sleep(50);
  guest.lose();
};
const never = (): Promise<void> => new Promise(() => undefined);
const to = (host: string): EgressDestination => ({
  ...{ name: host, port: 443, address: '192.0.2.1', announced: null, allowed: true, reason: null },
  ...{ connections: 1, bytesIn: 0, bytesOut: 0 },
});

const cases: readonly Case[] = [
  {
    title: 'a build that succeeds',
    guests: [succeed],
    expected: { state: 'succeeded', code: null, vms: 1 },
  },
  {
    title: 'a Dockerfile that fails',
    guests: [(guest) => guest.end({ exitCode: 1 })],
    expected: { state: 'failed', code: null, vms: 1 },
  },
  {
    title: 'the rest of its log cannot be read, as the VM takes no further command',
    guests: [(guest) => guest.end({ exitCode: 1, ref: 'xyrhojc6h4w2hyqvqfzmgsval' })],
    expected: { state: 'failed', code: null, vms: 1, warnings: 1, lostHistory: true },
  },
  {
    title: 'cancelled before it has a VM',
    guests: [],
    waiting: (reach) => reach.cancel(),
    expected: { state: 'cancelled', code: 'CANCELLED', vms: 0 },
  },
  {
    title: 'cancelled while it runs',
    guests: [
      (guest, reach) => {
        guest.log('#1 [internal]\n');
        guest.connect(to('a.example'));
        reach.cancel();
      },
    ],
    expected: { state: 'cancelled', code: 'CANCELLED', vms: 1, egress: ['a.example'] },
  },
  {
    title: 'cancelled in the moment in which it succeeds',
    guests: [
      (guest, reach) => {
        guest.end();
        reach.cancel();
      },
    ],
    expected: { state: 'cancelled', code: 'CANCELLED', vms: 1 },
  },
  {
    title: 'cancelled when its artifact is there: nothing is kept',
    spec: { outputs: [{ type: 'oci' }] },
    guests: [
      async (guest, reach) => {
        await guest.writeArtifact(emptyTar);
        guest.end({ artifactBytes: emptyTar.length });
        reach.cancel();
      },
    ],
    expected: { state: 'cancelled', code: 'CANCELLED', vms: 1, artifact: false },
  },
  {
    title: 'the service stops while it runs: it is left to the next start',
    guests: [
      (guest, reach) => {
        guest.connect(to('a.example'));
        reach.stop();
      },
    ],
    expected: { state: 'running', vms: 1, paused: true, egress: ['a.example'] },
  },
  {
    title: 'the service stops while it waits: it is left to the next start',
    guests: [],
    waiting: (reach) => reach.stop(),
    expected: { state: 'queued', vms: 0, paused: true },
  },
  {
    title: 'the service stops while it runs, and it is to run at most once',
    spec: { retry: 'never' },
    guests: [(_guest, reach) => reach.stop()],
    expected: { state: 'interrupted', code: 'DRAINING', vms: 1 },
  },
  {
    title: 'the service stops while it runs for the second time',
    guests: [(guest) => guest.lose(), (_guest, reach) => reach.stop()],
    expected: { state: 'interrupted', code: 'DRAINING', vms: 2 },
  },
  {
    title: 'it takes longer than it was given',
    spec: { timeoutSeconds: 1 },
    guests: [never],
    expected: { state: 'failed', code: 'TIMEOUT', vms: 1 },
  },
  {
    title: 'it prints nothing for longer than it may; what it prints gives it time again',
    spec: { noOutputTimeoutSeconds: 1 },
    guests: [
      async (guest) => {
        for (let word = 0; word < 3; word += 1) {
          guest.log('#1 a word\n');
          await sleep(600);
        }
        await never();
      },
    ],
    expected: { state: 'failed', code: 'TIMEOUT', vms: 1, logs: ['#1 a word\n'.repeat(3)] },
  },
  {
    title: 'the time it was given is that of all its VMs together',
    spec: { timeoutSeconds: 1 },
    guests: [
      async (guest) => {
        await sleep(600);
        guest.lose();
      },
      async (guest) => {
        await sleep(600);
        guest.end();
      },
    ],
    expected: { state: 'failed', code: 'TIMEOUT', vms: 2 },
  },
  {
    title: 'its VM is lost before it said a word: another one',
    guests: [
      (guest) => {
        guest.connect(to('a.example'));
        guest.lose();
      },
      (guest) => {
        guest.connect(to('b.example'));
        guest.end();
      },
    ],
    expected: {
      ...{ state: 'succeeded', code: null, vms: 2 },
      egress: ['a.example', 'b.example'],
    },
  },
  {
    title: 'its guest cannot start buildctl: another VM',
    guests: [(guest) => guest.say({ kiln: { problem: 'the disk did not appear' } }), succeed],
    expected: { state: 'succeeded', code: null, vms: 2 },
  },
  {
    title: 'two VMs are lost: no third',
    guests: [(guest) => guest.lose(), (guest) => guest.lose()],
    expected: { state: 'failed', code: 'INFRA', vms: 2 },
  },
  {
    title: 'its VM is lost after it said a word: another one, and both logs are kept',
    guests: [sayAndLose, succeed],
    expected: { state: 'succeeded', code: null, vms: 2, logs: ['#1 [internal]\n', '#1 done\n'] },
  },
  {
    title: 'its VM is lost, and it is to run at most once: no second run',
    spec: { retry: 'never' },
    guests: [sayAndLose],
    expected: { state: 'failed', code: 'INFRA', vms: 1 },
  },
  {
    title: 'something fails that should not',
    guests: [
      () => {
        throw new TypeError('a mistake of ours');
      },
    ],
    expected: { state: 'failed', code: 'INTERNAL', vms: 1 },
  },
  {
    title: 'its artifact is kept',
    spec: { outputs: [{ type: 'oci' }] },
    guests: [
      async (guest) => {
        await guest.writeArtifact(emptyTar);
        guest.end({ artifactBytes: emptyTar.length });
      },
    ],
    expected: { state: 'succeeded', code: null, vms: 1, artifact: true },
  },
  {
    title: 'its artifact is not what the guest says',
    spec: { outputs: [{ type: 'oci' }] },
    guests: [(guest) => guest.end({ artifactBytes: 512 })],
    expected: { state: 'failed', code: 'ARTIFACT_INVALID', vms: 1, artifact: false },
  },
];

for (const { title, guests, spec = {}, waiting, expected } of cases) {
  test(`${title} (simulated VMs)`, async () => {
    await using folder = await createFolder();
    const logger = createMemoryLogger();
    const [cancel, stop] = [new AbortController(), new AbortController()];
    const reach = { cancel: () => cancel.abort(cancelled), stop: () => stop.abort(draining) };
    await using vms = await simulateVms(guests.map((script) => (guest) => script(guest, reach)));
    await using store = await openBuildStore(folder.path);
    const buildsDirectory = join(folder.path, 'builds');
    await mkdir(buildsDirectory);
    const record = { ...queuedRecord(), context: null, spec: parseSpec(spec) };
    const journal = await Journal.open(record, { store, buildsDirectory, maxLogBytes: 1e6, logger });
    await store.insert(journal.record);
    const max = waiting ? 0 : 2;
    const pool = scheduleOne({ size: 0, frozen: 0, max, create: asleep(() => vms.create()), logger });
    const signal = AbortSignal.any([cancel.signal, stop.signal]);
    const lease = pool.acquire(signal);
    lease.catch(() => undefined);
    waiting?.(reach);
    const path = join(folder.path, 'context.erofs');
    await writeFile(path, '');
    await keepInput(journal.directory, {
      ...{ context: { path, directory: '', named: [] }, sources: {}, dockerfile: null },
    });
    const artifacts = await openArtifactStore(join(folder.path, 'artifacts'));

    await runBuild(
      { journal, secrets: BuildSecrets.none, lease },
      {
        ...{ scheduler: pool.scheduler, artifacts, maxArtifactBytes: 1e6 },
        ...{ timeouts, stopping: stop.signal },
        readDigest: assert.fail,
        disk: new DiskBudget({ directory: folder.path, keepFreeBytes: 0 }),
        ...{ vmDiskBytes: 1e6, logger },
        retention: { makeRoom: assert.fail },
      },
      signal,
    );

    assert.equal(vms.alive.size, 0);
    assert.equal(vms.made(), expected.vms);
    assert.equal(await hasInput(journal.directory), expected.paused ?? false);
    const ended = await store.get(record.id);
    assert.deepEqual(
      [ended.state, ended.verdict?.code, ended.egress.map(({ name }) => name)],
      [expected.state, expected.code, expected.egress ?? []],
    );
    assert.deepEqual(ended.entry, expected.vms > 0 ? simulatedEntry : record.entry);
    assertAttempts(ended, expected);
    if (expected.logs) assert.deepEqual(await readLogs(journal), expected.logs);
    assert.equal(ended.artifact !== null, expected.artifact ?? false);
    assert.deepEqual(await readdir(join(folder.path, 'artifacts/incoming')), []);
    const events = await readEvents(journal);
    assert.deepEqual(
      events.map(({ type }) => type).filter((type) => type !== 'egress'),
      [
        'state',
        ...(expected.vms > 0 ? ['state'] : []),
        ...Array.from({ length: Math.max(0, expected.vms - 1) }, () => ['attempt', 'state', 'state']).flat(),
        ...Array.from({ length: expected.warnings ?? 0 }, () => 'warning'),
        ...(expected.artifact ? ['artifact'] : []),
        expected.paused ? 'paused' : 'verdict',
      ],
    );
    assertSaid(logger.said, { id: record.id, ...expected });
    assert.deepEqual([pool.scheduler.waiting, pool.status.leased], [0, 0]);
    await pool.close();
  });
}
