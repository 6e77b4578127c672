import { createSerial } from '../lib/serial.ts';
import { findFirstDifference } from '../logs/first-difference.ts';
import { type BuildRecord, isTerminal } from '../model/build.ts';
import { elapsedMs } from '../model/describe-end.ts';
import { KilnError } from '../model/error.ts';
import { type LogDifference, type Matrix, type MatrixBuild, matrixState } from '../model/matrix.ts';

/** Bytes of a build's plain log, from its beginning to what is there. @throws KilnError GONE, also while it is read */
export type ReadLog = (build: BuildOf) => Promise<AsyncIterable<Buffer>>;

type BuildOf = Pick<BuildRecord, 'id' | 'tenant' | 'state'>;

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

  const compare = (record: BuildOf, first: BuildOf): Promise<LogDifference | null> => {
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

  return (id, records) => {
    const [first] = records;
    if (!first) throw new KilnError('NOT_FOUND', 'There is no matrix with this id.');
    const [reference, ...others] = records.map(({ id: build, tenant, state }) => ({
      id: build,
      tenant,
      state,
    }));
    const found = others.map(async (other) =>
      reference && isTerminal(reference.state) && isTerminal(other.state) ? compare(other, reference) : null,
    );
    // Records may be large: whoever waits for a comparison holds none.
    return withDifferences({ id, state: matrixState(records), builds: records.map(summary) }, [
      Promise.resolve(null),
      ...found,
    ]);
  };
}

type Summary = Omit<MatrixBuild, 'firstDifference'>;

async function withDifferences(
  { builds, ...matrix }: Omit<Matrix, 'builds'> & { readonly builds: readonly Summary[] },
  differences: readonly Promise<LogDifference | null>[],
): Promise<Matrix> {
  const found = await Promise.all(differences);
  return {
    ...matrix,
    builds: builds.map((build, index) => ({ ...build, firstDifference: found[index] ?? null })),
  };
}

function summary(record: BuildRecord): Summary {
  const { id, entry, state, times, imageDigest } = record;
  const ms = elapsedMs(times, 'leased', 'finished');
  return { entry: entry.name, id, state, seconds: ms === null ? null : ms / 1000, imageDigest };
}

async function compareLogs(record: BuildOf, first: BuildOf, readLog: ReadLog): Promise<LogDifference | null> {
  try {
    return await findFirstDifference(await readLog(record), await readLog(first));
  } catch (error) {
    // What the records say stays true where the logs were removed to make room.
    if (KilnError.from(error).code === 'GONE') return null;
    throw error;
  }
}
