import type { BuildRecord } from './build.ts';
import type { Operation } from './operation.ts';

/**
 * Whoever counts what happens. The use-cases tell and wait for nothing; what it makes of that is its own affair, and it never throws.
 */
export type Observer = {
  /** A build got a VM of its entry, after so many seconds in the line. */
  leased(entry: string, waitedSeconds: number): void;
  /** So many bytes of a build's plain log came. */
  logged(bytes: number): void;
  /** A build has ended, once for each; its record is the last. */
  buildEnded(record: BuildRecord): void;
  operationEnded(operation: Operation): void;
};

/** Tells each of them. */
export function observeAll(observers: readonly Observer[]): Observer {
  return {
    leased(entry, waitedSeconds) {
      for (const one of observers) one.leased(entry, waitedSeconds);
    },
    logged(bytes) {
      for (const one of observers) one.logged(bytes);
    },
    buildEnded(record) {
      for (const one of observers) one.buildEnded(record);
    },
    operationEnded(operation) {
      for (const one of observers) one.operationEnded(operation);
    },
  };
}
