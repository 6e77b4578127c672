import { join } from 'node:path';
import { endBuildLog } from '../logs/build-log.ts';
import type { Verdict } from '../model/build.ts';
import type { BuildEvent } from '../model/event.ts';
import type { BuildStore } from '../store/build-store.ts';

/** A build that an earlier run of the service left unfinished never ends by itself: it is interrupted, in record and events. */
export async function recoverBuilds(options: { store: BuildStore; buildsDirectory: string }): Promise<void> {
  const at = new Date().toISOString();
  const verdict: Verdict = {
    state: 'interrupted',
    exitCode: null,
    code: 'INFRA',
    message: 'The service stopped while this build ran; send it again.',
  };
  for (const { id } of await options.store.interruptUnfinished(verdict, at)) {
    const event: BuildEvent = { at, type: 'verdict', verdict };
    await endBuildLog(join(options.buildsDirectory, id), event);
  }
}
