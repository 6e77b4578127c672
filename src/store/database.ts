import Sqlite from 'better-sqlite3';
import { Kysely, SqliteDialect } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { KilnError } from '../model/error.ts';

/** What is asked for by column is a column; the rest of a record is JSON. */
export type Tables = {
  build: {
    id: string;
    state: string;
    /** RFC 3339; ids sort the same way. */
    created: string;
    record: string;
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
};

/**
 * Opens the database for this process alone: a second service on the same file is refused until this process ends, however
 * it ends. @throws KilnError CONFIG_INVALID
 */
export async function openDatabase(path: string): Promise<Kysely<Tables>> {
  const sqlite = new Sqlite(path, { timeout: 1000 });
  try {
    lockExclusively(sqlite, path);
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: sqlite }) });
    await migrate(db, path);
    return db;
  } catch (error) {
    sqlite.close();
    throw error;
  }
}

function lockExclusively(sqlite: Sqlite.Database, path: string): void {
  // In this mode the first write takes the file's lock and keeps it until the connection is closed.
  sqlite.pragma('locking_mode = EXCLUSIVE');
  try {
    sqlite.pragma('journal_mode = WAL');
    sqlite.exec('BEGIN EXCLUSIVE; COMMIT');
  } catch (error) {
    const busy = error instanceof Error && 'code' in error && String(error.code).startsWith('SQLITE_BUSY');
    if (!busy) throw error;
    throw new KilnError(
      'CONFIG_INVALID',
      `Another kiln already runs on ${path}; give this one a KILN_DATA_DIR of its own.`,
      {
        cause: error,
      },
    );
  }
  sqlite.pragma('synchronous = FULL');
  sqlite.pragma('foreign_keys = ON');
  const check = sqlite.pragma('quick_check', { simple: true });
  if (check !== 'ok')
    throw new KilnError('CONFIG_INVALID', `The database ${path} is damaged: ${String(check)}`);
}

async function migrate(db: Kysely<Tables>, path: string): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (!error) return;
  throw new KilnError(
    'CONFIG_INVALID',
    `The database ${path} cannot be brought to this version of kiln; was it written by a newer one?`,
    { cause: error },
  );
}
