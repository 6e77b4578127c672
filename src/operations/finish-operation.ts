import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/logger.ts';
import type { Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import type { OperationJournal } from './operation-journal.ts';

/** For another reason than a full disk. */
const maxFailures = 30;
const retryMs = 1000;

/**
 * Writes the end of an operation until the disk takes it, as making images is what fills disks; unless the service stops first: then
 * the next start ends it. Whoever follows it is let go in any case. Never rejects.
 */
export async function finishOperation(
  journal: OperationJournal,
  verdict: Verdict,
  { stopping, logger }: { stopping: AbortSignal; logger: Logger },
): Promise<void> {
  const { id, request } = journal.operation;
  for (let failures = 0; ; ) {
    try {
      await journal.finish(verdict);
      logger.info({ operation: id, entry: request.entry, ...verdict }, 'an operation ended');
      return;
    } catch (error) {
      if (KilnError.from(error).code !== 'STORAGE_FULL') failures += 1;
      if (stopping.aborted || failures === maxFailures) {
        await journal.close();
        logger.error({ operation: id, error }, 'an operation could not be recorded');
        return;
      }
      await sleep(retryMs, undefined, { signal: stopping }).catch(() => undefined);
    }
  }
}
