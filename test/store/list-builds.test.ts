import assert from 'node:assert/strict';
import { test } from 'node:test';
import { v7 as uuid } from 'uuid';
import type { BuildRecord } from '../../src/model/build.ts';
import type { PageRequest } from '../../src/model/build-filter.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { type BuildStore, endRecord, openBuildStore } from '../../src/store/build-store.ts';
import { createFolder, queuedRecord, verdict } from './harness.ts';

const start = Date.UTC(2026, 0, 2);
const minute = 60_000;
const at = (minutes: number): Date => new Date(start + minutes * minute);

/** A build a minute; of each three one waits, one failed, one succeeded; every other is named `app:1`, the fifth of another tenant, too. */
async function fill(store: BuildStore): Promise<BuildRecord[]> {
  const records: BuildRecord[] = [];
  for (let index = 0; index < 12; index += 1) {
    const queued = queuedRecord({
      id: uuid({ msecs: at(index).getTime() }),
      tenant: index === 5 ? 'other' : 'default',
      spec: parseSpec({ tags: index % 2 === 1 ? ['app:1', 'app:latest', 'app:1'] : [] }),
    });
    await store.insert(queued);
    const state = (['queued', 'failed', 'succeeded'] as const)[index % 3] ?? 'queued';
    const record =
      state === 'queued' ? queued : endRecord(queued, { ...verdict, state }, at(index).toISOString());
    if (record !== queued) await store.update(record);
    records.push(record);
  }
  return records;
}

async function listAll(
  store: BuildStore,
  filter: Omit<PageRequest, 'limit'>,
  limit: number,
): Promise<string[]> {
  const ids: string[] = [];
  for (let before: string | undefined; ; before = ids.at(-1)) {
    const page = await store.list({ tenant: 'default', limit, before, ...filter });
    ids.push(...page.builds.map(({ id }) => id));
    if (!page.more) return ids;
  }
}

test('builds are listed by state, name and time, and all of it together, whatever the length of a page', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const records = await fill(store);
  const expect = async (filter: Omit<PageRequest, 'limit'>, indexes: readonly number[]): Promise<void> => {
    const ids = indexes.map((index) => records[index]?.id);
    for (const limit of [1, 2, 100]) assert.deepEqual(await listAll(store, filter, limit), ids);
  };
  await expect({}, [11, 10, 9, 8, 7, 6, 4, 3, 2, 1, 0]);
  await expect({ states: ['queued'] }, [9, 6, 3, 0]);
  await expect({ states: ['failed', 'succeeded', 'failed'] }, [11, 10, 8, 7, 4, 2, 1]);
  await expect({ states: ['running'] }, []);
  await expect({ states: [] }, [11, 10, 9, 8, 7, 6, 4, 3, 2, 1, 0]);
  await expect({ tag: 'app:1' }, [11, 9, 7, 3, 1]);
  await expect({ tag: 'app' }, []);
  await expect({ since: at(3), until: at(8) }, [7, 6, 4, 3]);
  await expect({ since: at(30) }, []);
  await expect({ until: new Date(-1) }, []);
  await expect({ states: ['queued', 'failed'], tag: 'app:1', since: at(2), until: at(9.5) }, [9, 7, 3]);
});

test('a record that is forgotten is forgotten by its names, too', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  const records = await fill(store);
  const ended = records.filter(({ state }) => state !== 'queued').map(({ id }) => id);
  await store.markRemoved(ended, at(20).toISOString());
  await store.forget(0);
  const named = await store.list({ tenant: 'default', limit: 100, tag: 'app:1' });
  assert.deepEqual(
    named.builds.map(({ id }) => id),
    [records[9]?.id, records[3]?.id],
  );
});
