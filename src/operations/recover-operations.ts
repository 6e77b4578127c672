import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import type { Logger } from '../lib/logger.ts';
import { endBuildFiles } from '../logs/build-files.ts';
import type { Verdict } from '../model/build.ts';
import type { Operation } from '../model/operation.ts';
import { endOperation, readOperation, writeRecord } from './operation-journal.ts';

/** All that are kept, the newest first; folders without a record were never operations. */
export async function listOperations(parent: string): Promise<Operation[]> {
  const names = (await readdir(parent)).toSorted().toReversed();
  const read = await Promise.all(names.map((name) => readOperation(join(parent, name)).catch(() => null)));
  return read.filter((operation) => operation !== null);
}

/** Those beyond are forgotten, the oldest first, at a start. */
const maxKept = 200;

/** What an earlier run of the service left running is interrupted, in record and events. */
export async function recoverOperations(parent: string, logger: Logger): Promise<void> {
  const verdict: Verdict = {
    state: 'interrupted',
    exitCode: null,
    code: 'INFRA',
    message: 'The service stopped while this operation ran; resume it.',
  };
  for (const [index, operation] of (await listOperations(parent)).entries()) {
    if (index >= maxKept) await removeQuietly(join(parent, operation.id));
    if (index >= maxKept || operation.state !== 'running') continue;
    const directory = join(parent, operation.id);
    try {
      await writeRecord(directory, endOperation(operation, verdict));
      await endBuildFiles(directory, { at: new Date().toISOString(), type: 'verdict', verdict });
    } catch (error) {
      logger.warn({ operation: operation.id, error }, 'an interrupted operation could not be ended');
    }
  }
}
