import assert from 'node:assert/strict';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Caller, localAdmin } from '../../src/model/caller.ts';
import { type Operation, rebuildSchema } from '../../src/model/operation.ts';
import type { Operations } from '../../src/model/operations.ts';
import { writeRecord } from '../../src/operations/operation-journal.ts';
import { listOperations, recoverOperations } from '../../src/operations/recover-operations.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';
import { finish, openOperations } from './open-operations.ts';
import { simulateHouse } from './simulated-house.ts';

const { signal } = new AbortController();
const whole = { offset: 0, follow: true, signal };
const asked = rebuildSchema.parse({ entry: 'v0.20.2' });
const entry = 'buildkit-v0.20.2';
const other = '019a0000-0000-7000-8000-0000000000ff';

async function logOf(operations: Operations, { id }: Operation): Promise<string> {
  return Buffer.concat(await Array.fromAsync(await operations.readLog(localAdmin, id, whole))).toString();
}

test('a rebuild makes the image, looks at it in a VM and serves it, step by step (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  const begun = await operations.rebuild(localAdmin, asked);
  assert.deepEqual([begun.state, begun.request.entry, begun.request.version], ['running', entry, 'v0.1.0']);
  const events = await Array.fromAsync(await operations.events(localAdmin, begun.id, whole));
  assert.deepEqual(
    events.map(({ event }) =>
      event.type === 'step' ? `${event.step.name} ${event.step.state}` : event.type,
    ),
    [...['ctr', 'vm', 'check', 'roll'].flatMap((name) => [`${name} running`, `${name} done`]), 'verdict'],
  );
  const ended = await operations.get(localAdmin, begun.id);
  assert.equal(ended.state, 'succeeded');
  const { done = [], skipped = [] } = Object.groupBy(ended.steps, ({ state }) => state);
  assert.ok(done.every(({ started, ended: end }) => started && end));
  assert.deepEqual(
    skipped.map(({ name }) => name),
    ['dqd', 'publish'],
  );
  assert.equal(ended.image?.digest, `sha256:${'b'.repeat(64)}`);
  assert.deepEqual(house.served, [`${entry} v0.1.0`]);
  assert.deepEqual([house.alive.size, house.templates.size, house.rooms.size], [0, 1, 0]);
  const log = await logOf(operations, ended);
  assert.match(log, /^ctr {2}buildkit-v0\.20\.2 v0\.1\.0 …\n#1 \[base 1\/1\] the base\n/);
  assert.match(
    log,
    /check {2}waits for room for a VM, as a build would: place 1 in the line\ncheck {2}the image/,
  );
  assert.match(log, /check {2}runc --version: runc version 1\.2\.5\n/);
  assert.match(log, /roll {2}builds of buildkit-v0\.20\.2 run on v0\.1\.0/);
});

for (const [title, house, code, failed] of [
  ['has no root file system', simulateHouse({ fail: 'makeCtr' }), 'INFRA', 'ctr'],
  ['is not made', simulateHouse({ fail: 'makeVm' }), 'INFRA', 'vm'],
  ['does not boot', simulateHouse({ fail: 'tryOut' }), 'CANARY_FAILED', 'check'],
  ['gives no VM', simulateHouse({ fail: 'startVm' }), 'CANARY_FAILED', 'check'],
  ['cannot be signed for', simulateHouse({ fail: 'sign' }), 'INFRA', 'check'],
  [
    'runs another runc',
    simulateHouse({ answers: { 'runc --version': 'runc version 1.2.50\n' } }),
    'CANARY_FAILED',
    'check',
  ],
  [
    'has a unit that failed',
    simulateHouse({ answers: { 'systemctl --failed --plain --no-legend': 'x.service loaded failed\n' } }),
    'CANARY_FAILED',
    'check',
  ],
] as const) {
  test(`an image that ${title} changes nothing (simulated images)`, async () => {
    await using opened = await openOperations(house);
    const { operations } = opened;
    const ended = await finish(operations, await operations.rebuild(localAdmin, asked));
    assert.deepEqual([ended.state, ended.verdict?.code], ['failed', code]);
    assert.equal(ended.steps.find(({ state }) => state === 'failed')?.name, failed);
    assert.deepEqual([house.served, house.alive.size, house.templates.size, house.rooms.size], [[], 0, 0, 0]);
    assert.match(await logOf(operations, ended), /kiln: failed: /);
  });
}

test('one at a time for each entry; the others are told which (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  const release = house.hold();
  const [first, second] = await Promise.allSettled([
    operations.rebuild(localAdmin, asked),
    operations.rebuild(localAdmin, asked),
  ]);
  assert.ok(first.status === 'fulfilled' && second.status === 'rejected');
  assert.deepEqual(
    [second.reason.code, second.reason.details.operation],
    ['REBUILD_RUNNING', first.value.id],
  );
  await assert.rejects(operations.rollBack(localAdmin, entry), { code: 'REBUILD_RUNNING' });
  const elsewhere = await operations.rebuild(localAdmin, { ...asked, entry: 'v0.12.5', dryRun: true });
  assert.equal((await finish(operations, elsewhere)).state, 'succeeded');
  release();
  assert.equal((await finish(operations, first.value)).state, 'succeeded');
  const again = await operations.rebuild(localAdmin, asked);
  assert.equal(again.request.version, 'v0.1.1');
  await finish(operations, again);
});

test('a dry run says what it would do and does nothing (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  const ended = await finish(operations, await operations.rebuild(localAdmin, { ...asked, dryRun: true }));
  assert.deepEqual(
    [ended.state, ...ended.steps.map(({ state }) => state)],
    ['succeeded', ...ended.steps.map(() => 'skipped')],
  );
  assert.deepEqual(house.served, []);
  assert.match(
    await logOf(operations, ended),
    /the root file system v0\.1\.0 of buildkit-v0\.20\.2 would be made/,
  );
  await assert.rejects(operations.evidence(localAdmin, ended.id, 'sbom'), { code: 'NOT_FOUND' });
});

test('a version means one image: it is not made again, not even after it was rolled back (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations } = opened;
  const versioned = { ...asked, version: 'v1.0.0' };
  await finish(operations, await operations.rebuild(localAdmin, { ...versioned, dryRun: true }));
  await finish(operations, await operations.rebuild(localAdmin, versioned));
  await operations.rollBack(localAdmin, entry);
  await assert.rejects(operations.rebuild(localAdmin, versioned), { code: 'VERSION_EXISTS' });
});

test('the next version follows the highest that there was, also after a roll back (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations } = opened;
  for (const version of ['v0.9.0', 'v0.10.0', 'v0.2.0'])
    await finish(operations, await operations.rebuild(localAdmin, { ...asked, version }));
  await operations.rollBack(localAdmin, entry);
  const next = await finish(operations, await operations.rebuild(localAdmin, asked));
  assert.deepEqual([next.request.version, next.state], ['v0.10.1', 'succeeded']);
});

test('a cancelled rebuild ends and is resumed by another, of the same version (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  const release = house.hold();
  const begun = await operations.rebuild(localAdmin, { ...asked, version: 'v2.0.0' });
  const cancelled = await operations.cancel(localAdmin, begun.id, 'Enough.');
  assert.deepEqual([cancelled.state, cancelled.verdict?.message], ['cancelled', 'Enough.']);
  await assert.rejects(operations.cancel(localAdmin, begun.id, 'Again.'), { code: 'OPERATION_ENDED' });
  release();
  const resumed = await operations.resume(localAdmin, begun.id);
  assert.deepEqual([resumed.resumes, resumed.request.version], [begun.id, 'v2.0.0']);
  assert.equal((await finish(operations, resumed)).state, 'succeeded');
  await assert.rejects(operations.resume(localAdmin, resumed.id), { code: 'OPERATION_ENDED' });
  const listed = await operations.list(localAdmin);
  assert.deepEqual(
    listed.map(({ id }) => id),
    [resumed.id, begun.id],
  );
});

test('a service that stops interrupts what runs, and begins no more (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  house.hold();
  const begun = await operations.rebuild(localAdmin, asked);
  await operations.close();
  assert.equal((await operations.get(localAdmin, begun.id)).state, 'interrupted');
  await assert.rejects(operations.rebuild(localAdmin, asked), { code: 'DRAINING' });
});

test('what a service left running that was killed is interrupted at the next start, in record and events', async () => {
  await using opened = await openOperations();
  const { operations, directory } = opened;
  const ended = await finish(operations, await operations.rebuild(localAdmin, asked));
  const { verdict: _verdict, ...unfinished } = ended;
  await writeRecord(join(directory, ended.id), {
    ...unfinished,
    state: 'running',
    verdict: null,
    ended: null,
  });
  await mkdir(join(directory, 'never-begun'));
  await recoverOperations(directory, createMemoryLogger());
  const [recovered, ...others] = await listOperations(directory);
  assert.deepEqual(
    [recovered?.id, recovered?.state, recovered?.verdict?.code, others.length],
    [ended.id, 'interrupted', 'INFRA', 0],
  );
  assert.equal((await operations.get(localAdmin, ended.id)).state, 'interrupted');
});

test('operations are for administrators alone, and an id is never a path (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, directory } = opened;
  const builder: Caller = { ...localAdmin, role: 'build' };
  for (const call of [
    () => operations.rebuild(builder, asked),
    () => operations.resume(builder, other),
    () => operations.rollBack(builder, entry),
    () => operations.prune(builder, { dryRun: true }),
    () => operations.get(builder, other),
    () => operations.list(builder),
    () => operations.cancel(builder, other, 'x'),
    () => operations.readLog(builder, other, whole),
    () => operations.events(builder, other, whole),
  ])
    await assert.rejects(call(), { code: 'ROLE_TOO_LOW' });
  for (const id of [other, '../operations', ''])
    await assert.rejects(operations.get(localAdmin, id), { code: 'NOT_FOUND' });
  await assert.rejects(operations.rebuild(localAdmin, { ...asked, entry: 'v0.1.99' }), {
    code: 'BUILDKIT_UNKNOWN',
  });
  await assert.rejects(operations.rollBack(localAdmin, entry), { code: 'NO_PREVIOUS_IMAGE' });
  assert.deepEqual(await readdir(directory), []);
});

test('of very many operations the newest are kept', async () => {
  await using opened = await openOperations();
  const { operations, directory } = opened;
  const ended = await finish(operations, await operations.rebuild(localAdmin, asked));
  const ids = Array.from(
    { length: 205 },
    (_, index) => `019a0000-0000-7000-8000-${String(index).padStart(12, '0')}`,
  );
  for (const id of ids) await writeRecord(join(directory, id), { ...ended, id });
  const begun = await operations.rebuild(localAdmin, { ...asked, dryRun: true });
  assert.equal((await readdir(directory)).length, 201);
  await rm(join(directory, (await finish(operations, begun)).id), { recursive: true });
  await writeRecord(join(directory, ids[6] ?? ''), { ...ended, id: ids[6] ?? '' });
  await recoverOperations(directory, createMemoryLogger());
  const kept = await listOperations(directory);
  assert.deepEqual(
    kept.map(({ id }) => id),
    [ended.id, ...ids.toReversed().slice(0, 199)],
  );
});

test('what is being changed is not pruned (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  assert.equal((await operations.prune(localAdmin, { dryRun: true })).length, 1);
  const release = house.hold();
  const begun = await operations.rebuild(localAdmin, asked);
  const pruned = operations.prune(localAdmin, { dryRun: false });
  release();
  assert.deepEqual(await pruned, []);
  await finish(operations, begun);
});

test('what is being pruned is neither rebuilt nor rolled back to (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations, house } = opened;
  const release = house.hold();
  const pruned = operations.prune(localAdmin, { dryRun: false });
  await assert.rejects(operations.rebuild(localAdmin, asked), { code: 'REBUILD_RUNNING' });
  await assert.rejects(operations.rollBack(localAdmin, entry), {
    code: 'REBUILD_RUNNING',
    message: /by pruning;/,
  });
  release();
  assert.equal((await pruned).length, 1);
  await finish(operations, await operations.rebuild(localAdmin, asked));
});
