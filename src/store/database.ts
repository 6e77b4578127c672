import { chmod, open } from 'node:fs/promises';
import Sqlite from 'better-sqlite3';
import { type DatabaseConnection, Kysely, SqliteDialect, SqliteDriver, sql } from 'kysely';
import { DEFAULT_MIGRATION_TABLE, type Migration, Migrator } from 'kysely/migration';
import { KilnError } from '../model/error.ts';

/** What is asked for by column is a column; the rest of a record is JSON. */
export type Tables = {
  build: {
    id: string;
    tenant: string;
    matrix: string | null;
    state: string;
    /** RFC 3339; ids sort the same way. */
    created: string;
    record: string;
    /** When it ended; RFC 3339. */
    finished: string | null;
    /** Digest of the artifact it kept. */
    artifact: string | null;
    /** When its log, events and artifact were removed. */
    removed: string | null;
  };
  /** The names that builds were to give their images. */
  build_tag: {
    tenant: string;
    tag: string;
    /** Id of the build. */
    build: string;
  };
  /** Requests that came with an Idempotency-Key. */
  claim: {
    tenant: string;
    key: string;
    /** Of what was asked. */
    hash: string;
    created: string;
    /** Id of its build or, of a matrix, of the first. */
    build: string;
  };
};

/** Never edit a migration that was released: add one. */
const migrations: Record<string, Migration> = {
  '001-builds': {
    async up(db) {
      await db.schema
        .createTable('build')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('state', 'text', (column) => column.notNull())
        .addColumn('created', 'text', (column) => column.notNull())
        .addColumn('record', 'text', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('build_state').on('build').column('state').execute();
    },
  },
  '002-removed': {
    async up(db) {
      for (const column of ['finished', 'artifact', 'removed'])
        await db.schema.alterTable('build').addColumn(column, 'text').execute();
      await sql`UPDATE build SET
        finished = record ->> '$.times.finished',
        artifact = record ->> '$.artifact.digest'`.execute(db);
      await db.schema.createIndex('build_kept').on('build').columns(['removed', 'finished']).execute();
      await db.schema.createIndex('build_artifact').on('build').column('artifact').execute();
    },
  },
  '003-warnings': {
    async up(db) {
      await sql`UPDATE build SET
        record = json_insert(record, '$.warnings', json('[]'), '$.spec.builtinFrontend', json('false'))`.execute(
        db,
      );
    },
  },
  '004-tenant': {
    async up(db) {
      await db.schema
        .alterTable('build')
        .addColumn('tenant', 'text', (column) => column.notNull().defaultTo('default'))
        .execute();
      await db.schema.createIndex('build_tenant').on('build').columns(['tenant', 'id']).execute();
    },
  },
  '005-matrix': {
    async up(db) {
      await db.schema.alterTable('build').addColumn('matrix', 'text').execute();
      await db.schema.createIndex('build_matrix').on('build').column('matrix').execute();
    },
  },
  '006-claim': {
    async up(db) {
      await db.schema
        .createTable('claim')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('key', 'text', (column) => column.notNull())
        .addColumn('hash', 'text', (column) => column.notNull())
        .addColumn('created', 'text', (column) => column.notNull())
        .addColumn('build', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('claim_key', ['tenant', 'key'])
        .execute();
    },
  },
  '007-tag': {
    async up(db) {
      await db.schema.createIndex('build_listed').on('build').columns(['tenant', 'state', 'id']).execute();
      await db.schema
        .createTable('build_tag')
        .addColumn('tenant', 'text', (column) => column.notNull())
        .addColumn('tag', 'text', (column) => column.notNull())
        .addColumn('build', 'text', (column) => column.notNull().references('build.id').onDelete('cascade'))
        .addPrimaryKeyConstraint('build_tag_key', ['tenant', 'tag', 'build'])
        .execute();
      await db.schema.createIndex('build_tag_build').on('build_tag').column('build').execute();
      await sql`INSERT OR IGNORE INTO build_tag
        SELECT build.tenant, tag.value, build.id FROM build, json_each(build.record, '$.spec.tags') AS tag`.execute(
        db,
      );
    },
  },
};

/** How long a start waits for the one before it to end. */
const lockDeadlineMs = 1000;

/**
 * Opens the database for this process alone: a second service on the same file is refused until this process ends, however
 * it ends. @throws KilnError CONFIG_INVALID, STORAGE_FULL
 */
export async function openDatabase(path: string): Promise<Kysely<Tables>> {
  await makePrivate(path);
  const sqlite = new Sqlite(path, { timeout: lockDeadlineMs });
  try {
    prepare(sqlite, path);
    refuseNewerSchema(sqlite, path);
    const db = new Kysely<Tables>({ dialect: new RollbackOnceDialect(sqlite) });
    await migrate(db, sqlite);
    return db;
  } catch (error) {
    sqlite.close();
    throw translate(error, path);
  }
}

/** SQLite ends a transaction itself when the disk takes no more, and refuses to end it again: that would be told in place of why. */
class RollbackOnceDriver extends SqliteDriver {
  readonly #sqlite: Sqlite.Database;

  constructor(sqlite: Sqlite.Database) {
    super({ database: sqlite });
    this.#sqlite = sqlite;
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#sqlite.inTransaction) await super.rollbackTransaction(connection);
  }
}

class RollbackOnceDialect extends SqliteDialect {
  readonly #sqlite: Sqlite.Database;

  constructor(sqlite: Sqlite.Database) {
    super({ database: sqlite });
    this.#sqlite = sqlite;
  }

  override createDriver(): RollbackOnceDriver {
    return new RollbackOnceDriver(this.#sqlite);
  }
}

/**
 * SQLite would make the file for everyone to read; its further files get the mode of this one. One that is there is not opened:
 * closing it would give up the locks that this process holds on it.
 */
async function makePrivate(path: string): Promise<void> {
  try {
    await using _file = await open(path, 'wx', 0o600);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    await chmod(path, 0o600);
  }
}

/** Waits for a query; what SQLite says of the disk becomes a KilnError. */
export async function settle<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    throw translate(error, 'of builds');
  }
}

function prepare(sqlite: Sqlite.Database, path: string): void {
  // In this mode the first write takes the file's lock and keeps it until the connection is closed.
  sqlite.pragma('locking_mode = EXCLUSIVE');
  sqlite.pragma('journal_mode = WAL');
  sqlite.exec('BEGIN EXCLUSIVE; COMMIT');
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  const check = sqlite.pragma('quick_check', { simple: true });
  if (check !== 'ok') throw damaged(path, check);
}

function refuseNewerSchema(sqlite: Sqlite.Database, path: string): void {
  const table = sqlite.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(DEFAULT_MIGRATION_TABLE);
  if (!table) return;
  const done = sqlite.prepare(`SELECT name FROM ${DEFAULT_MIGRATION_TABLE}`).pluck().all();
  const unknown = done.filter((name) => !(String(name) in migrations));
  if (unknown.length === 0) return;
  throw new KilnError(
    'CONFIG_INVALID',
    `The database ${path} was written by a newer kiln (${unknown.join(', ')}); run that one, or use another KILN_DATA_DIR.`,
  );
}

/** All or nothing: kysely itself runs migrations of SQLite without a transaction. */
async function migrate(db: Kysely<Tables>, sqlite: Sqlite.Database): Promise<void> {
  sqlite.exec('BEGIN');
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error) throw translate(error, sqlite.name);
  sqlite.exec('COMMIT');
}

function translate(error: unknown, database: string): KilnError {
  const code = error instanceof Sqlite.SqliteError ? error.code : '';
  if (code.startsWith('SQLITE_BUSY')) {
    const message = `Another kiln runs on ${database}. Stop that one, or give this one a KILN_DATA_DIR of its own.`;
    return new KilnError('CONFIG_INVALID', message, { cause: error });
  }
  // A quota that is used up is, to SQLite, a failed write.
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_WRITE') {
    return new KilnError('STORAGE_FULL', 'The disk of the build service is full; try again later.', {
      cause: error,
    });
  }
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return damaged(database, error);
  return KilnError.from(error);
}

function damaged(database: string, cause: unknown): KilnError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new KilnError(
    'CONFIG_INVALID',
    `The database ${database} is damaged (${why}). Restore it from a copy, or remove it to start without the builds it names.`,
    { cause },
  );
}
