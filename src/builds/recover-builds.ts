import { join } from 'node:path';
import { exists } from '../lib/files.ts';
import type { Logger } from '../lib/logger.ts';
import { endBuildFiles, findLastWrite } from '../logs/build-files.ts';
import { type BuildRecord, isTerminal, type Verdict } from '../model/build.ts';
import { hasNone } from '../model/build-secrets.ts';
import type { BuildEvent } from '../model/event.ts';
import type { Observer } from '../model/observer.ts';
import { type BuildStore, endRecord } from '../store/build-store.ts';
import type { Lost, Used } from './attempts.ts';
import { hasInput, removeInput } from './build-input.ts';
import { mayRunAgain, outlivesService, secretsLost } from './may-run-again.ts';
import { reportEnd } from './report-end.ts';
import type { Retention } from './retention.ts';

/** A build that goes on, and what became of the attempt that ran when the service died; null where none did. */
export type LeftBuild = {
  readonly record: BuildRecord;
  readonly lost: { readonly error: Lost; readonly used: Used } | null;
};

export type RecoverOptions = {
  readonly store: BuildStore;
  readonly buildsDirectory: string;
  readonly retention: Pick<Retention, 'ended'>;
  /** Where somebody counts. */
  readonly observer?: Observer;
  readonly logger: Logger;
};

/** Far more than can have been ending when an earlier run died. */
const recentBuilds = 200;
/** Of records that are in memory at once. */
const maxPageBytes = 4 * 1024 * 1024;

/**
 * What an earlier run of the service left unfinished: builds that waited, and those that ran and may run once more, are told, in the order
 * of the line, the latter first as they were served before. All others end here, as interrupted. Where that run died between the end of a
 * record and the last event, the event is added.
 * @param options.retention Opened before, as it makes the room that this needs: the disk may have been full when that run ended.
 */
export async function recoverBuilds(options: RecoverOptions): Promise<LeftBuild[]> {
  const at = new Date().toISOString();
  const left: LeftBuild[] = [];
  const unfinished = await options.store.listUnfinished();
  for (const record of unfinished) {
    if (await goesOn(record, options)) left.push(await describeLeft(record, options));
    else await interrupt(record, at, options);
  }
  const seen = new Set(unfinished.map(({ id }) => id));
  for await (const record of listRecent(options.store))
    if (!seen.has(record.id) && isTerminal(record.state) && (await hasFiles(record, options)))
      await endEvents(record, at, options);
  const { ran, waited } = Object.groupBy(left, ({ lost }) => (lost ? 'ran' : 'waited'));
  return [...(ran ?? []), ...(waited ?? [])];
}

/** Those of old builds are removed to make room. */
function hasFiles({ id }: BuildRecord, { buildsDirectory }: RecoverOptions): Promise<boolean> {
  return exists(join(buildsDirectory, id));
}

/** Builds of earlier kilns left no input; nor did those whose files a power failure took. */
async function goesOn(record: BuildRecord, { buildsDirectory }: RecoverOptions): Promise<boolean> {
  const directory = join(buildsDirectory, record.id);
  return outlivesService(record) && (await hasInput(directory)) && (await findLastWrite(directory)) !== null;
}

async function describeLeft(record: BuildRecord, { buildsDirectory }: RecoverOptions): Promise<LeftBuild> {
  const last = record.attempts.at(-1);
  if (record.state === 'queued' || !last) return { record, lost: null };
  const lastWrite = await findLastWrite(join(buildsDirectory, record.id));
  const error: Lost = {
    code: 'INFRA',
    message: 'The service stopped while this build ran. Running it once more in another VM.',
  };
  // Nobody was there to note it; a clock that was set back must not give time.
  const seconds = Math.max(0, ((lastWrite ?? 0) - Date.parse(last.started)) / 1000);
  return { record, lost: { error, used: { seconds, egress: [] } } };
}

async function interrupt(record: BuildRecord, at: string, options: RecoverOptions): Promise<void> {
  const stopped = { state: 'interrupted', exitCode: null, code: 'INFRA', failureClass: 'INFRA' } as const;
  const verdict: Verdict = hasNone(record.secrets) ? { ...stopped, message: explain(record) } : secretsLost;
  const ended = endRecord(record, verdict, at);
  await options.store.update(ended);
  reportEnd(options, ended);
  await endEvents(ended, at, options);
  options.retention.ended(ended);
}

function explain(record: BuildRecord): string {
  if (record.state === 'running' && record.spec.retry === 'never')
    return 'The service stopped while this build ran, which was to run at most once; send it again.';
  if (record.state === 'running' && record.pushBegun)
    return 'The service stopped while this build pushed its image; look what is in the registry, and send it again.';
  if (record.state === 'running' && !mayRunAgain(record))
    return 'The service stopped while this build ran for the last time; send it again.';
  return 'The service stopped before this build had ended; send it again.';
}

/** Page by page: a record may be as large as the build arguments it names. */
async function* listRecent(store: BuildStore): AsyncGenerator<BuildRecord> {
  let before: string | undefined;
  for (let left = recentBuilds; left > 0; ) {
    const page = {
      tenant: null,
      limit: left,
      maxBytes: maxPageBytes,
      ...(before !== undefined && { before }),
    };
    const { builds, more } = await store.list(page);
    yield* builds;
    if (!more) return;
    left -= builds.length;
    before = builds.at(-1)?.id;
  }
}

async function endEvents(
  { id, times, verdict }: BuildRecord,
  at: string,
  { buildsDirectory, logger }: RecoverOptions,
): Promise<void> {
  if (!verdict) return;
  await removeInput(join(buildsDirectory, id));
  const event: BuildEvent = { at: times.finished ?? at, type: 'verdict', verdict };
  try {
    await endBuildFiles(join(buildsDirectory, id), event);
  } catch (error) {
    // After a power failure a record may have outlived its files; the next builds need neither.
    logger.warn({ build: id, error }, 'the events of an interrupted build could not be ended');
  }
}
