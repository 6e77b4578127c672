import type { Logger } from '../lib/logger.ts';
import type { BuildRecord } from '../model/build.ts';
import { elapsedMs } from '../model/describe-end.ts';
import { isOurs, KilnError } from '../model/error.ts';
import type { Observer } from '../model/observer.ts';

/** Says once why a build failed, with every cause, where that is no fault of the build: its record keeps only code and message. */
export function reportFailure(logger: Logger, build: string, thrown: unknown): void {
  const error = KilnError.from(thrown);
  if (isOurs(error.code)) logger.error({ build, code: error.code, error }, 'a build failed by our fault');
}

/** An attempt of a build was no good, and another follows. */
export function reportRetry(logger: Logger, build: string, error: KilnError): void {
  logger.warn({ build, code: error.code, error }, 'a build lost its VM and is run once more');
}

/** The service ends and the build does not. */
export function reportPause(logger: Logger, { id, state }: BuildRecord): void {
  logger.info({ build: id, state }, 'a build goes on after the next start');
}

/** Where buildctl stopped reading, the rest of the log is missing: the record says so, and not why. */
export function reportLostHistory(logger: Logger, build: string, error: unknown): void {
  logger.warn({ build, error }, 'the history of a build could not be read to its end');
}

/** One line for each build: how it ended and where its time went, in ms; null for a phase that it did not reach. Whoever counts is told, too. */
export function reportEnd(
  { logger, observer }: { logger: Logger; observer?: Observer },
  record: BuildRecord,
): void {
  const { id, verdict, times } = record;
  const fields = {
    ...{ build: id, state: verdict?.state, code: verdict?.code, exitCode: verdict?.exitCode },
    waitedMs: elapsedMs(times, 'queued', 'leased'),
    builtMs: elapsedMs(times, 'leased', 'buildFinished'),
    totalMs: elapsedMs(times, 'queued', 'finished'),
  };
  logger.info(fields, 'build ended');
  observer?.buildEnded(record);
}
