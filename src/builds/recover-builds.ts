import { join } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import { endBuildFiles } from '../logs/build-files.ts';
import type { BuildRecord, Verdict } from '../model/build.ts';
import type { BuildEvent } from '../model/event.ts';
import type { BuildStore } from '../store/build-store.ts';
import { reportEnd } from './report-end.ts';
import type { Retention } from './retention.ts';

/** Far more than can have been ending when an earlier run died. */
const recentBuilds = 200;
/** Of records that are in memory at once. */
const maxPageBytes = 4 * 1024 * 1024;

/**
 * A build that an earlier run of the service left unfinished never ends by itself: it is interrupted, in record and events.
 * Where that run died between the end of a record and the last event, the event is added.
 * @param options.retention Opened before, as it makes the room that this needs: the disk may have been full when that run ended.
 */
export async function recoverBuilds(options: {
  store: BuildStore;
  buildsDirectory: string;
  retention: Pick<Retention, 'ended'>;
  logger: Logger;
}): Promise<void> {
  const at = new Date().toISOString();
  const verdict: Verdict = {
    state: 'interrupted',
    exitCode: null,
    code: 'INFRA',
    message: 'The service stopped while this build ran; send it again.',
  };
  const interrupted = await options.store.interruptUnfinished(verdict, at);
  const ended = new Set<string>();
  for (const record of interrupted) {
    reportEnd(options.logger, record);
    await endEvents(record, at, options);
    options.retention.ended(record);
    ended.add(record.id);
  }
  for await (const record of listRecent(options.store)) {
    if (!ended.has(record.id)) await endEvents(record, at, options);
  }
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
  { buildsDirectory, logger }: { buildsDirectory: string; logger: Logger },
): Promise<void> {
  if (!verdict) return;
  const event: BuildEvent = { at: times.finished ?? at, type: 'verdict', verdict };
  try {
    await endBuildFiles(join(buildsDirectory, id), event);
  } catch (error) {
    // After a power failure a record may have outlived its files; the next builds need neither.
    logger.warn({ build: id, error }, 'the events of an interrupted build could not be ended');
  }
}
