import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { sql } from 'kysely';
import { buildStates } from '../../src/model/build.ts';
import { createBuildStore, endRecord, openBuildStore } from '../../src/store/build-store.ts';
import { openDatabase } from '../../src/store/database.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';
import { createFolder, queuedRecord, verdict } from './harness.ts';

const at = '2026-01-02T03:04:06.000Z';

test('a record comes back as it was, also after a restart', async () => {
  await using folder = await createFolder();
  const record = queuedRecord();
  {
    await using store = await openBuildStore(folder.path);
    await store.insert(record);
    assert.deepEqual(await store.get(record.id), record);
  }
  await using store = await openBuildStore(folder.path);
  assert.deepEqual(await store.get(record.id), record);
});

test('an unknown build is NOT_FOUND', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  await assert.rejects(store.get('x'), { code: 'NOT_FOUND' });
});

/** State → states that may follow it. */
const successors: Record<string, readonly string[]> = {
  queued: buildStates,
  // Before a second attempt.
  running: buildStates,
};

for (const from of buildStates) {
  for (const to of buildStates) {
    const legal = successors[from]?.includes(to) ?? false;
    test(`a build that is ${from} ${legal ? 'may become or stay' : 'never becomes'} ${to}`, async () => {
      await using folder = await createFolder();
      await using store = await openBuildStore(folder.path);
      const record = queuedRecord({ state: from });
      await store.insert(record);
      const changed = { ...record, state: to, imageDigest: 'sha256:22' };
      if (legal) await store.update(changed);
      else await assert.rejects(store.update(changed), { code: 'INTERNAL' });
      assert.deepEqual(await store.get(record.id), legal ? changed : record);
    });
  }
}

test('a build that is not there cannot be changed', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  await assert.rejects(store.update(queuedRecord()), { code: 'INTERNAL' });
  assert.deepEqual(await store.list({ tenant: null, limit: 10 }), { builds: [], more: false });
});

test('builds are listed newest first, page by page', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const records = Array.from({ length: 7 }, () => queuedRecord());
  for (const record of records) await store.insert(record);
  const ids: string[] = [];
  const lengths: number[] = [];
  for (let page = await store.list({ tenant: null, limit: 3 }); ; ) {
    ids.push(...page.builds.map(({ id }) => id));
    lengths.push(page.builds.length);
    if (!page.more) break;
    page = await store.list({ tenant: null, limit: 3, before: ids.at(-1) ?? assert.fail() });
  }
  assert.deepEqual(ids, records.map(({ id }) => id).reverse());
  assert.deepEqual(lengths, [3, 3, 1]);
  assert.deepEqual((await store.list({ tenant: null, limit: 7 })).more, false);
});

test('the list of a tenant has its own builds alone, and pages them as if there were no others', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const records = Array.from({ length: 6 }, (_, index) =>
    queuedRecord({ tenant: index % 2 === 0 ? 'one' : 'two' }),
  );
  for (const record of records) await store.insert(record);
  const own = records.filter(({ tenant }) => tenant === 'two').reverse();
  const first = await store.list({ tenant: 'two', limit: 2 });
  assert.deepEqual(first, { builds: own.slice(0, 2), more: true });
  const rest = await store.list({ tenant: 'two', limit: 2, before: own[1]?.id ?? assert.fail() });
  assert.deepEqual(rest, { builds: own.slice(2), more: false });
  assert.deepEqual(await store.list({ tenant: 'none', limit: 2 }), { builds: [], more: false });
});

test('a page of large records ends at its bytes, holds at least one, and reading on gives them all', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const records = Array.from({ length: 5 }, () =>
    queuedRecord({ context: { digest: 'sha256:33', size: 1, entries: 1, warnings: ['ü'.repeat(50_000)] } }),
  );
  for (const record of records) await store.insert(record);
  const newest = records.toReversed();
  const first = await store.list({ tenant: null, limit: 10, maxBytes: 250_000 });
  assert.deepEqual(first, { builds: newest.slice(0, 2), more: true });
  const before = newest[1]?.id ?? assert.fail();
  assert.deepEqual(await store.list({ tenant: null, limit: 10, before }), {
    builds: newest.slice(2),
    more: false,
  });
  assert.deepEqual(await store.list({ tenant: null, limit: 10, maxBytes: 1 }), {
    builds: newest.slice(0, 1),
    more: true,
  });
});

test('what an earlier run left unfinished is told in the order it came, whatever the clock said then', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const queued = queuedRecord();
  const running = queuedRecord({ state: 'running' });
  const succeeded = queuedRecord({ state: 'succeeded' });
  const earlier = queuedRecord({ id: '00000000-0000-7000-8000-000000000000' });
  for (const record of [queued, running, succeeded, earlier]) await store.insert(record);
  assert.deepEqual(await store.listUnfinished(), [queued, running, earlier]);
  await store.update(endRecord(running, verdict, at));
  assert.deepEqual(await store.listUnfinished(), [queued, earlier]);
});

test('a build that has ended does not end again', () => {
  assert.throws(() => endRecord(queuedRecord({ state: 'failed' }), verdict, at), { code: 'INTERNAL' });
});

test('a full disk is STORAGE_FULL; what was there is still read, and writing goes on when there is room', async () => {
  await using folder = await createFolder();
  const db = await openDatabase(`${folder.path}/kiln.db`);
  await using store = createBuildStore(db);
  const kept = queuedRecord();
  await store.insert(kept);
  const { rows } = await sql<{ page_count: number }>`PRAGMA page_count`.execute(db);
  await sql.raw(`PRAGMA max_page_count = ${rows[0]?.page_count ?? assert.fail()}`).execute(db);
  const large = queuedRecord({
    context: { digest: 'sha256:33', size: 1, entries: 1, warnings: ['x'.repeat(100_000)] },
  });
  await assert.rejects(store.insert(large), { code: 'STORAGE_FULL' });
  await assert.rejects(store.update({ ...large, id: kept.id }), { code: 'STORAGE_FULL' });
  assert.deepEqual((await store.list({ tenant: null, limit: 10 })).builds, [kept]);
  await sql`PRAGMA max_page_count = 100000`.execute(db);
  await store.insert(large);
  assert.deepEqual((await store.list({ tenant: null, limit: 10 })).builds, [large, kept]);
});

test('changes of several builds at once, too, say of a full disk that it is full, and are made when there is room', async () => {
  await using disk = await createSmallDisk(4);
  const ballast = `${disk.path}/ballast`;
  await using store = await openBuildStore(disk.path);
  const records = Array.from({ length: 20 }, () => queuedRecord());
  for (const record of records) await store.insert(record);
  await fillDisk(ballast);
  const full = { code: 'STORAGE_FULL' };
  const ids = records.map(({ id }) => id);
  await assert.rejects(store.markRemoved(ids, at), full);
  await rm(ballast);
  await store.markRemoved(ids, at);
  assert.deepEqual(await store.listKept(), []);
});

test('files are kept of those that wait or run, then in the order builds ended, until their removal is noted', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const artifact = { format: 'oci', digest: 'sha256:22', size: 1 } as const;
  const [slow, fast, running] = [queuedRecord({ artifact }), queuedRecord(), queuedRecord({ artifact })];
  for (const record of [slow, fast, running]) await store.insert(record);
  await store.update(endRecord(fast, verdict, '2026-01-02T03:04:06.000Z'));
  await store.update(endRecord(slow, verdict, '2026-01-02T03:04:07.000Z'));
  const listKept = async (): Promise<string[]> => (await store.listKept()).map(({ id }) => id);
  assert.deepEqual(await listKept(), [running.id, fast.id, slow.id]);
  assert.deepEqual((await store.listHolders('sha256:22')).toSorted(), [slow.id, running.id]);
  await store.markRemoved([slow.id], at);
  assert.deepEqual(await listKept(), [running.id, fast.id]);
  assert.deepEqual(await store.listHolders('sha256:22'), [running.id]);
  await store.forget(0);
  await assert.rejects(store.get(slow.id), { code: 'NOT_FOUND' });
  for (const { id } of [fast, running]) assert.equal((await store.get(id)).id, id);
});
