import { join } from 'node:path';
import { type BuildRecord, isTerminal, type Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { openDatabase } from './database.ts';

/** The records of all builds. Every change is on disk when its promise resolves. */
export type BuildStore = AsyncDisposable & {
  insert(record: BuildRecord): Promise<void>;
  /** Replaces a record. @throws when the stored one is terminal: a build ends once. */
  update(record: BuildRecord): Promise<void>;
  /** @throws KilnError NOT_FOUND */
  get(id: string): Promise<BuildRecord>;
  /** Newest first; `before` is the last id of the page before. */
  list(page: { limit: number; before?: string }): Promise<BuildRecord[]>;
  /** Ends what an earlier run left queued or running; returns those records as they are now. */
  interruptUnfinished(verdict: Verdict, at: string): Promise<BuildRecord[]>;
};

/** @param directory Holds the database file. @throws KilnError CONFIG_INVALID, also when another process has it open. */
export async function openBuildStore(directory: string): Promise<BuildStore> {
  const db = await openDatabase(join(directory, 'kiln.db'));
  const parse = ({ record }: { record: string }): BuildRecord => JSON.parse(record);
  const update = async (record: BuildRecord): Promise<void> => {
    const { numUpdatedRows } = await db
      .updateTable('build')
      .set({ state: record.state, record: JSON.stringify(record) })
      .where('id', '=', record.id)
      .where('state', 'in', ['queued', 'running'])
      .executeTakeFirst();
    if (numUpdatedRows !== 1n) throw new KilnError('INTERNAL', `Build ${record.id} has ended already.`);
  };
  return {
    async insert(record) {
      const created = record.times.queued ?? '';
      const row = { id: record.id, state: record.state, created, record: JSON.stringify(record) };
      await db.insertInto('build').values(row).execute();
    },
    update,
    async get(id) {
      const row = await db.selectFrom('build').select('record').where('id', '=', id).executeTakeFirst();
      if (!row) throw new KilnError('NOT_FOUND', 'There is no build with this id.');
      return parse(row);
    },
    async list({ limit, before }) {
      let query = db.selectFrom('build').select('record').orderBy('id', 'desc').limit(limit);
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.execute()).map(parse);
    },
    async interruptUnfinished(verdict, at) {
      const rows = await db
        .selectFrom('build')
        .select('record')
        .where('state', 'in', ['queued', 'running'])
        .execute();
      const ended = rows.map(parse).map((record) => endRecord(record, verdict, at));
      for (const record of ended) await update(record);
      return ended;
    },
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

/** A record with its verdict. */
export function endRecord(record: BuildRecord, verdict: Verdict, at: string): BuildRecord {
  if (isTerminal(record.state)) throw new KilnError('INTERNAL', `Build ${record.id} has ended already.`);
  return { ...record, state: verdict.state, verdict, times: { ...record.times, finished: at } };
}
