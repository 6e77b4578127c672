import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import {
  type Artifact,
  type BuildRecord,
  type BuildState,
  isTerminal,
  type Verdict,
} from '../model/build.ts';
import type { BuildPage } from '../model/builds.ts';
import { readRecord } from '../model/earlier-forms.ts';
import { KilnError } from '../model/error.ts';
import { openDatabase, settle, type Tables } from './database.ts';
import { listBuilds, type StoredPageRequest } from './list-builds.ts';

/** The records of all builds. Every change is on disk when its promise resolves. Each of them may throw KilnError STORAGE_FULL. */
export type BuildStore = AsyncDisposable & {
  /** All of them or none. */
  insert(...records: readonly BuildRecord[]): Promise<void>;
  /**
   * The same, for a request that came with a key; nothing is inserted where that key is another's already.
   * @returns whether they were
   */
  insertClaimed(claim: Claim, records: readonly BuildRecord[]): Promise<boolean>;
  /** What was inserted with this key; null where nothing was, or too long ago, or its records are gone. */
  findClaimed(claim: Claim): Promise<{ readonly hash: string; readonly builds: BuildRecord[] } | null>;
  /** Replaces a record. @throws where the stored one has ended: a build ends once. */
  update(record: BuildRecord): Promise<void>;
  /** @throws KilnError NOT_FOUND */
  get(id: string): Promise<BuildRecord>;
  /** Newest first. */
  list(request: StoredPageRequest): Promise<BuildPage>;
  /** The builds of a matrix in the order they were made; none where there is no such matrix. */
  listMatrix(tenant: string, matrix: string): Promise<BuildRecord[]>;
  /** What is queued or running, in the order in which it was inserted. */
  listUnfinished(): Promise<BuildRecord[]>;

  /** Builds whose files are kept: those that wait or run, then those that ended, in that order. */
  listKept(): Promise<KeptFiles[]>;
  /** Builds that have this artifact, ended or not, and whose files are kept. */
  listHolders(artifact: Artifact['digest']): Promise<string[]>;
  /** Notes that the files of these builds were removed. */
  markRemoved(ids: readonly string[], at: string): Promise<void>;
  /** Deletes the oldest records of builds whose files were removed, until `max` records are left or none of them is. */
  forget(max: number): Promise<void>;
};

/** A request that came with a key of its sender's own. Times are RFC 3339. */
export type Claim = {
  readonly tenant: string;
  readonly key: string;
  /** Of what was asked. */
  readonly hash: string;
  readonly at: string;
  /** Keys that came before this are forgotten. */
  readonly since: string;
};

export type KeptFiles = {
  readonly id: string;
  readonly state: BuildState;
  readonly artifact: Artifact['digest'] | null;
};

const unfinished: BuildState[] = ['queued', 'running'];

/** @param directory Holds the database file. @throws KilnError CONFIG_INVALID, also when another process has it open. */
export async function openBuildStore(directory: string): Promise<BuildStore> {
  return createBuildStore(await openDatabase(join(directory, 'kiln.db')));
}

export function createBuildStore(db: Kysely<Tables>): BuildStore {
  return {
    async insert(...records) {
      await settle(db.transaction().execute((transaction) => insertAll(transaction, records)));
    },
    ...claimQueries(db),
    update: (record) => settle(update(db, record)),
    async get(id) {
      const row = await settle(
        db.selectFrom('build').select('record').where('id', '=', id).executeTakeFirst(),
      );
      if (!row) throw new KilnError('NOT_FOUND', 'There is no build with this id.');
      return parse(row);
    },
    list: (request) => listBuilds(db, request),
    async listMatrix(tenant, matrix) {
      const own = db.selectFrom('build').select('record').where('tenant', '=', tenant);
      return (await settle(own.where('matrix', '=', matrix).orderBy('id').execute())).map(parse);
    },
    async listUnfinished() {
      const open = db.selectFrom('build').select('record').where('state', 'in', unfinished);
      // Not by id, which is a time of a clock that may have been set back.
      return (await settle(open.orderBy(sql`rowid`).execute())).map(parse);
    },
    ...keptQueries(db),
    [Symbol.asyncDispose]: () => db.destroy(),
  };
}

function claimQueries(db: Kysely<Tables>): Pick<BuildStore, 'insertClaimed' | 'findClaimed'> {
  return {
    insertClaimed: (claim, records) =>
      settle(
        db.transaction().execute(async (transaction) => {
          const known = transaction.selectFrom('build').select('id');
          const { tenant, key, hash, at: created, since } = claim;
          await transaction
            .deleteFrom('claim')
            .where((of) => of.or([of('created', '<', since), of('build', 'not in', known)]))
            .execute();
          const build = records[0]?.id ?? '';
          const taken = await transaction
            .insertInto('claim')
            .values({ tenant, key, hash, created, build })
            .onConflict((conflict) => conflict.doNothing())
            .executeTakeFirst();
          if (taken.numInsertedOrUpdatedRows !== 1n) return false;
          await insertAll(transaction, records);
          return true;
        }),
      ),
    async findClaimed({ tenant, key, since }) {
      const claims = db.selectFrom('claim').select(['hash', 'build']).where('tenant', '=', tenant);
      const claim = await settle(
        claims.where('key', '=', key).where('created', '>=', since).executeTakeFirst(),
      );
      if (!claim) return null;
      const first = db.selectFrom('build').select('matrix').where('id', '=', claim.build);
      const rows = db.selectFrom('build').select('record').orderBy('id');
      const found = await settle(
        rows.where((of) => of.or([of('id', '=', claim.build), of('matrix', '=', first)])).execute(),
      );
      return found.length === 0 ? null : { hash: claim.hash, builds: found.map(parse) };
    },
  };
}

function keptQueries(
  db: Kysely<Tables>,
): Pick<BuildStore, 'listKept' | 'listHolders' | 'markRemoved' | 'forget'> {
  const kept = db.selectFrom('build').where('removed', 'is', null);
  return {
    async listKept() {
      const query = kept.select(['id', 'state', 'artifact']).orderBy('finished').orderBy('id');
      // We wrote the rows: their columns are those of a record.
      return (await settle(query.execute())) as KeptFiles[];
    },
    async listHolders(artifact) {
      const rows = await settle(kept.select('id').where('artifact', '=', artifact).execute());
      return rows.map(({ id }) => id);
    },
    async markRemoved(ids, at) {
      await settle(
        db.transaction().execute(async (transaction) => {
          for (const id of ids)
            await transaction.updateTable('build').set({ removed: at }).where('id', '=', id).execute();
        }),
      );
    },
    async forget(max) {
      const newest = db.selectFrom('build').select('id').orderBy('id', 'desc').limit(1).offset(max);
      await settle(
        db.deleteFrom('build').where('removed', 'is not', null).where('id', '<=', newest).execute(),
      );
    },
  };
}

async function insertAll(db: Kysely<Tables>, records: readonly BuildRecord[]): Promise<void> {
  await db.insertInto('build').values(records.map(rowOf)).execute();
  const tags = records.flatMap(({ tenant, id, spec }) =>
    [...new Set(spec.tags)].map((tag) => ({ tenant, tag, build: id })),
  );
  if (tags.length > 0) await db.insertInto('build_tag').values(tags).execute();
}

function rowOf(record: BuildRecord): Omit<Tables['build'], 'removed'> & { removed: null } {
  const { id, tenant, matrix, times } = record;
  return { id, tenant, matrix, created: times.queued ?? '', removed: null, ...columnsOf(record) };
}

function columnsOf(record: BuildRecord): Pick<Tables['build'], 'state' | 'record' | 'finished' | 'artifact'> {
  return {
    state: record.state,
    record: JSON.stringify(record),
    finished: record.times.finished,
    artifact: record.artifact?.digest ?? null,
  };
}

/** A record with its verdict. */
export function endRecord(record: BuildRecord, verdict: Verdict, at: string): BuildRecord {
  if (isTerminal(record.state)) throw new KilnError('INTERNAL', `Build ${record.id} has ended already.`);
  return { ...record, state: verdict.state, verdict, times: { ...record.times, finished: at } };
}

async function update(db: Kysely<Tables>, record: BuildRecord): Promise<void> {
  const { numUpdatedRows } = await db
    .updateTable('build')
    .set(columnsOf(record))
    .where('id', '=', record.id)
    .where('state', 'in', unfinished)
    .executeTakeFirst();
  if (numUpdatedRows === 1n) return;
  throw new KilnError('INTERNAL', `Build ${record.id} is not there or has ended already.`);
}

function parse({ record }: { record: string }): BuildRecord {
  return readRecord(record);
}
