import { setTimeout as sleep } from 'node:timers/promises';
import type { Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import type { RunDependencies } from './accepted-build.ts';
import type { Used } from './attempts.ts';
import type { Journal } from './journal.ts';

/** How a build ended, and what its last run came to. */
export type Ending = Used & { readonly verdict: Verdict };

/** For another reason than a full disk. */
const maxFailures = 30;

/**
 * No build is left without its end: it is written again until the disk takes it, unless the service stops first. What fails for
 * another reason than a full disk is tried often enough to outlast what passes.
 */
export async function finishBuild(
  journal: Journal,
  { verdict, ...used }: Ending,
  {
    stopping,
    retention,
    logger,
    retryMs = 1000,
  }: Pick<RunDependencies, 'stopping' | 'retention' | 'logger'> & { readonly retryMs?: number },
): Promise<void> {
  for (let failures = 0; ; ) {
    try {
      await journal.finish(verdict, used);
      return;
    } catch (error) {
      const isFull = KilnError.from(error).code === 'STORAGE_FULL';
      if (!isFull) failures += 1;
      if (journal.ended || stopping.aborted || failures === maxFailures) {
        await journal.close();
        throw error;
      }
      // It tells nothing new where even that makes no room: the disk is full.
      if (isFull) await retention.makeRoom().catch(() => undefined);
      else if (failures === 1)
        logger.warn({ build: journal.record.id, error }, 'the end of a build could not be written yet');
      await sleep(retryMs, undefined, { signal: stopping }).catch(() => undefined);
    }
  }
}
