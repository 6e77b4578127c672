import { join } from 'node:path';
import type { Logger } from '../lib/logger.ts';
import { endBuildFiles } from '../logs/build-files.ts';
import type { Verdict } from '../model/build.ts';
import type { BuildEvent } from '../model/event.ts';
import type { BuildStore } from '../store/build-store.ts';

/** Far more than can have been ending when an earlier run died. */
const recentBuilds = 200;

/**
 * A build that an earlier run of the service left unfinished never ends by itself: it is interrupted, in record and events.
 * Where that run died between the end of a record and the last event, the event is added.
 */
export async function recoverBuilds(options: {
  store: BuildStore;
  buildsDirectory: string;
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
  const { builds: recent } = await options.store.list({ limit: recentBuilds });
  for (const record of new Map([...recent, ...interrupted].map((found) => [found.id, found])).values()) {
    const { id, times } = record;
    if (!record.verdict) continue;
    const event: BuildEvent = { at: times.finished ?? at, type: 'verdict', verdict: record.verdict };
    try {
      await endBuildFiles(join(options.buildsDirectory, id), event);
    } catch (error) {
      // After a power failure a record may have outlived its files; the next builds need neither.
      options.logger.warn({ build: id, error }, 'the events of an interrupted build could not be ended');
    }
  }
}
