import { createSerial } from '../lib/serial.ts';
import { findFirstDifference } from '../logs/first-difference.ts';
import { type BuildRecord, isTerminal } from '../model/build.ts';
import { elapsedMs } from '../model/describe-end.ts';
import { KilnError } from '../model/error.ts';
import { type LogDifference, type Matrix, type MatrixBuild, matrixState } from '../model/matrix.ts';

/** Bytes of a build's plain log, from its beginning to what is there. @throws KilnError GONE, also while it is read */
export type ReadLog = (record: BuildRecord) => Promise<AsyncIterable<Buffer>>;

/** @param records Of a matrix, in the order they were asked for. */
export type DescribeMatrix = (id: string, records: readonly BuildRecord[]) => Promise<Matrix>;

/** Comparisons that are remembered, of some hundred bytes each. */
const maxRemembered = 4096;

/**
 * A matrix may be looked at again and again, by many at once: the logs of two builds that have ended are compared once, and one
 * comparison at a time holds what it compares.
 */
export function createMatrixDescription(readLog: ReadLog): DescribeMatrix {
  /** By the build that is compared with the first of its matrix. */
  const remembered = new Map<string, Promise<LogDifference | null>>();
  const inTurn = createSerial();

  const compare = (record: BuildRecord, first: BuildRecord): Promise<LogDifference | null> => {
    const key = `${record.id} ${first.id}`;
    const before = remembered.get(key);
    if (before) return before;
    const found = inTurn(() => compareLogs(record, first, readLog));
    remembered.set(key, found);
    found.catch(() => remembered.delete(key));
    const [oldest] = remembered.keys();
    if (remembered.size > maxRemembered && oldest !== undefined) remembered.delete(oldest);
    return found;
  };

  return async (id, records) => {
    const [first, ...others] = records;
    if (!first) throw new KilnError('NOT_FOUND', 'There is no matrix with this id.');
    const differences = others.map(async (other) =>
      isTerminal(other.state) && isTerminal(first.state) ? compare(other, first) : null,
    );
    const found = [null, ...(await Promise.all(differences))];
    const builds = records.map((record, index): MatrixBuild => {
      return { ...summary(record), firstDifference: found[index] ?? null };
    });
    return { id, state: matrixState(records), builds };
  };
}

function summary(record: BuildRecord): Omit<MatrixBuild, 'firstDifference'> {
  const { id, entry, state, times, imageDigest } = record;
  const ms = elapsedMs(times, 'leased', 'finished');
  return { entry: entry.name, id, state, seconds: ms === null ? null : ms / 1000, imageDigest };
}

async function compareLogs(
  record: BuildRecord,
  first: BuildRecord,
  readLog: ReadLog,
): Promise<LogDifference | null> {
  try {
    return await findFirstDifference(await readLog(record), await readLog(first));
  } catch (error) {
    // What the records say stays true where the logs were removed to make room.
    if (KilnError.from(error).code === 'GONE') return null;
    throw error;
  }
}
