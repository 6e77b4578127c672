import type { Kysely } from 'kysely';
import type { BuildState } from '../model/build.ts';
import type { BuildFilter, PageRequest } from '../model/build-filter.ts';
import type { BuildPage } from '../model/builds.ts';
import { readRecord } from '../model/earlier-forms.ts';
import { settle, type Tables } from './database.ts';

export type StoredPageRequest = PageRequest & {
  /** Whose; null for all there are, which is for the service itself. */
  readonly tenant: string | null;
  /** Reading stops before the record that would make their JSON larger, unless it is the first. */
  readonly maxBytes?: number | undefined;
};

/** Newest first. What is read is bounded by the page, however many builds there are. */
export async function listBuilds(db: Kysely<Tables>, request: StoredPageRequest): Promise<BuildPage> {
  const { limit, maxBytes = Number.POSITIVE_INFINITY } = request;
  // One more than asked for tells whether there are more.
  const ids = await settle(selectIds(db, request, limit + 1).execute());
  const records = db
    .selectFrom('build')
    .select('record')
    .where(
      'id',
      'in',
      ids.map(({ id }) => id),
    )
    .orderBy('id', 'desc');
  return settle(readPage(records.stream(), { limit, maxBytes }));
}

/** Each state by itself, as far as the page goes: an index has them in this order, but not those of several states together. */
function selectIds(db: Kysely<Tables>, request: StoredPageRequest, limit: number) {
  const [first = null, ...others] = new Set(request.states);
  const part = (state: BuildState | null) =>
    db.selectFrom(ofState(db, request, state).limit(limit).as('part')).select('part.id as id');
  const all = others.reduce((union, state) => union.unionAll(part(state)), part(first));
  return all.orderBy('id', 'desc').limit(limit);
}

function ofState(db: Kysely<Tables>, request: StoredPageRequest, state: BuildState | null) {
  const { tenant, before, tag, since, until } = request;
  let builds = db.selectFrom('build');
  if (tenant !== null) builds = builds.where('build.tenant', '=', tenant);
  if (state !== null) builds = builds.where('build.state', '=', state);
  if (before !== undefined) builds = builds.where('build.id', '<', before);
  if (since !== undefined) builds = builds.where('build.id', '>=', firstIdAt(since));
  if (until !== undefined) builds = builds.where('build.id', '<', firstIdAt(until));
  if (tag === undefined) return builds.select('build.id as id').orderBy('build.id', 'desc');
  const tagged = builds.innerJoin('build_tag', (join) =>
    join
      .onRef('build_tag.build', '=', 'build.id')
      .onRef('build_tag.tenant', '=', 'build.tenant')
      .on('build_tag.tag', '=', tag),
  );
  // By its own index, which has the builds of a name in their order.
  return tagged.select('build_tag.build as id').orderBy('build_tag.build', 'desc');
}

/** What all ids made then or later are not before: they begin with the time, in milliseconds (RFC 9562, UUIDv7). */
function firstIdAt(time: NonNullable<BuildFilter['since']>): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

async function readPage(
  rows: AsyncIterable<{ record: string }>,
  { limit, maxBytes }: { limit: number; maxBytes: number },
): Promise<BuildPage> {
  const builds = [];
  let bytes = 0;
  for await (const { record } of rows) {
    bytes += Buffer.byteLength(record);
    if (builds.length === limit || (builds.length > 0 && bytes > maxBytes)) return { builds, more: true };
    builds.push(readRecord(record));
  }
  return { builds, more: false };
}
