import assert from 'node:assert/strict';
import { open, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { sql } from 'kysely';
import type { BuildRecord } from '../../src/model/build.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { openBuildStore } from '../../src/store/build-store.ts';
import { openDatabase } from '../../src/store/database.ts';
import { createFolder, openElsewhere, queuedRecord } from './harness.ts';

test('a second service on the same folder is refused, until the first is killed', async () => {
  await using folder = await createFolder();
  const record = queuedRecord();
  {
    await using _other = await openElsewhere(folder.path, record);
    await assert.rejects(openBuildStore(folder.path), {
      code: 'CONFIG_INVALID',
      message: `Another kiln runs on ${folder.path}/kiln.db. Stop that one, or give this one a KILN_DATA_DIR of its own.`,
    });
  }
  await using store = await openBuildStore(folder.path);
  assert.deepEqual(await store.get(record.id), record);
});

test('a second store in the same process is refused too, and the first goes on', async () => {
  await using folder = await createFolder();
  await using store = await openBuildStore(folder.path);
  await assert.rejects(openBuildStore(folder.path), { code: 'CONFIG_INVALID' });
  const record = queuedRecord();
  await store.insert(record);
  assert.deepEqual(await store.get(record.id), record);
});

test('records are for the service alone to read, also those of an earlier version', async () => {
  await using folder = await createFolder();
  await writeFile(join(folder.path, 'kiln.db'), '', { mode: 0o644 });
  await using store = await openBuildStore(folder.path);
  await store.insert(queuedRecord());
  for (const name of await readdir(folder.path)) {
    const { mode } = await stat(join(folder.path, name));
    assert.equal(mode & 0o777, 0o600, name);
  }
});

test('every change is on disk when it is acknowledged', async () => {
  await using folder = await createFolder();
  const db = await openDatabase(join(folder.path, 'kiln.db'));
  const pragma = async (name: string): Promise<unknown> => {
    const { rows } = await sql<Record<string, unknown>>`PRAGMA ${sql.raw(name)}`.execute(db);
    return rows[0]?.[name];
  };
  assert.equal(await pragma('journal_mode'), 'wal');
  assert.equal(await pragma('synchronous'), 2);
  assert.equal(await pragma('foreign_keys'), 1);
  await db.destroy();
});

test('a database of a newer kiln is refused, by the name of what it has more, and left as it is', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'kiln.db');
  const db = await openDatabase(path);
  await sql`INSERT INTO kysely_migration (name, timestamp) VALUES ('999-later', '2030-01-01')`.execute(db);
  await db.destroy();
  for (const _attempt of [1, 2]) {
    await assert.rejects(openDatabase(path), { code: 'CONFIG_INVALID', message: /newer kiln \(999-later\)/ });
  }
});

test('a migration that fails leaves nothing of itself', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'kiln.db');
  const db = await openDatabase(path);
  // As if the first migration were still to come: it meets its own table.
  await sql`DELETE FROM kysely_migration`.execute(db);
  await sql`DROP INDEX build_state`.execute(db);
  await sql`ALTER TABLE build RENAME TO other`.execute(db);
  await sql`CREATE INDEX build_state ON other (state)`.execute(db);
  await db.destroy();
  await assert.rejects(openDatabase(path), { code: 'INTERNAL' });
  const names = await tablesOf(path);
  assert.ok(names.includes('other') && !names.includes('build'), names.join());
});

async function tablesOf(path: string): Promise<string[]> {
  const { default: Sqlite } = await import('better-sqlite3');
  const sqlite = new Sqlite(path, { readonly: true });
  try {
    return sqlite.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all().map(String);
  } finally {
    sqlite.close();
  }
}

test('a file that is no database is refused', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'kiln.db');
  await writeFile(path, 'no database at all, and longer than the header of one\n'.repeat(10));
  await assert.rejects(openDatabase(path), { code: 'CONFIG_INVALID', message: /is damaged/ });
});

test('a damaged database is refused', async () => {
  await using folder = await createFolder();
  const path = join(folder.path, 'kiln.db');
  {
    await using store = await openBuildStore(folder.path);
    const warnings = ['x'.repeat(200_000)];
    await store.insert(queuedRecord({ context: { digest: 'sha256:44', size: 1, entries: 1, warnings } }));
  }
  const { size } = await stat(path);
  {
    await using handle = await open(path, 'r+');
    await handle.write(Buffer.alloc(4096 * 4, 0xff), 0, 4096 * 4, size - 4096 * 40);
    await handle.write(Buffer.alloc(4096, 0xff), 0, 4096, 4096);
  }
  await assert.rejects(openDatabase(path), { code: 'CONFIG_INVALID', message: /is damaged/ });
});

test('a store that is closed leaves one file', async () => {
  await using folder = await createFolder();
  {
    await using store = await openBuildStore(folder.path);
    await store.insert(queuedRecord());
  }
  assert.deepEqual(await readdir(folder.path), ['kiln.db']);
});

test('records of the version before have their columns after the first start', async () => {
  await using folder = await createFolder();
  const finished = '2026-01-02T03:04:06.000Z';
  const artifact = { format: 'oci', digest: 'sha256:22', size: 1 } as const;
  const queued = queuedRecord({ artifact, spec: parseSpec({ tags: ['app:1', 'app:1'] }) });
  const ended: BuildRecord = { ...queued, state: 'succeeded', times: { ...queued.times, finished } };
  {
    await using store = await openBuildStore(folder.path);
    await store.insert(ended);
  }
  {
    const db = await openDatabase(join(folder.path, 'kiln.db'));
    for (const index of ['build_kept', 'build_artifact', 'build_tenant', 'build_matrix', 'build_listed'])
      await db.schema.dropIndex(index).execute();
    for (const column of ['finished', 'artifact', 'removed', 'tenant', 'matrix'])
      await db.schema.alterTable('build').dropColumn(column).execute();
    for (const table of ['claim', 'build_tag'] as const) await db.schema.dropTable(table).execute();
    await sql`DELETE FROM kysely_migration WHERE name >= '002-removed'`.execute(db);
    await sql`UPDATE build SET record = json_remove(record, '$.tenant', '$.matrix', '$.warnings', '$.spec.builtinFrontend')`.execute(
      db,
    );
    await db.destroy();
  }
  await using store = await openBuildStore(folder.path);
  assert.deepEqual(await store.get(ended.id), ended);
  assert.deepEqual(await store.listKept(), [{ id: ended.id, state: 'succeeded', artifact: artifact.digest }]);
  assert.deepEqual(await store.listHolders(artifact.digest), [ended.id]);
  const listed = await store.list({ tenant: 'default', limit: 1, tag: 'app:1', states: ['succeeded'] });
  assert.deepEqual(listed, { builds: [ended], more: false });
});
