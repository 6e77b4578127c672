import { findFirstDifference } from '../logs/first-difference.ts';
import { type BuildRecord, isTerminal } from '../model/build.ts';
import { elapsedMs } from '../model/describe-end.ts';
import { KilnError } from '../model/error.ts';
import { type LogDifference, type Matrix, type MatrixBuild, matrixState } from '../model/matrix.ts';

/** Bytes of a build's plain log, from its beginning to what is there. */
export type ReadLog = (record: BuildRecord) => Promise<() => AsyncIterable<Buffer>>;

/** @param records Of a matrix, in the order they were asked for. */
export async function describeMatrix(
  id: string,
  records: readonly BuildRecord[],
  readLog: ReadLog,
): Promise<Matrix> {
  const [first, ...others] = records;
  if (!first) throw new KilnError('NOT_FOUND', 'There is no matrix with this id.');
  const builds: MatrixBuild[] = [{ ...summary(first), firstDifference: null }];
  // One after the other: a log may be long.
  for (const other of others)
    builds.push({ ...summary(other), firstDifference: await compare(other, first, readLog) });
  return { id, state: matrixState(records), builds };
}

function summary(record: BuildRecord): Omit<MatrixBuild, 'firstDifference'> {
  const { id, entry, state, times, imageDigest } = record;
  const ms = elapsedMs(times, 'leased', 'finished');
  return { entry: entry.name, id, state, seconds: ms === null ? null : ms / 1000, imageDigest };
}

async function compare(
  record: BuildRecord,
  first: BuildRecord,
  readLog: ReadLog,
): Promise<LogDifference | null> {
  if (!isTerminal(record.state) || !isTerminal(first.state)) return null;
  try {
    return await findFirstDifference(await readLog(record), await readLog(first));
  } catch (error) {
    // What the records say stays true where the logs were removed to make room.
    if (KilnError.from(error).code === 'GONE') return null;
    throw error;
  }
}
