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
  const operations: Operation[] = [];
  // One after the other: all at once would take as many open files, and so would each of those who ask at the same time.
  for (const name of await newestFirst(parent)) {
    const operation = await readOperation(join(parent, name)).catch(() => null);
    if (operation) operations.push(operation);
  }
  return operations;
}

/** Those beyond are forgotten, the oldest first. */
const maxKept = 200;

/** @param runs Whether an operation runs: it stays. */
export async function forgetOldOperations(parent: string, runs: (id: string) => boolean): Promise<void> {
  for (const name of (await newestFirst(parent)).slice(maxKept))
    if (!runs(name)) await removeQuietly(join(parent, name));
}

/** Their ids begin with the time. */
async function newestFirst(parent: string): Promise<string[]> {
  return (await readdir(parent)).toSorted().toReversed();
}

/** What an earlier run of the service left running is interrupted, in record and events. */
export async function recoverOperations(parent: string, logger: Logger): Promise<void> {
  const verdict: Verdict = {
    state: 'interrupted',
    exitCode: null,
    code: 'INFRA',
    failureClass: 'INFRA',
    message: 'The service stopped while this operation ran; resume it.',
  };
  await forgetOldOperations(parent, () => false);
  for (const operation of await listOperations(parent)) {
    if (operation.state !== 'running') continue;
    const directory = join(parent, operation.id);
    try {
      await writeRecord(directory, endOperation(operation, verdict));
      await endBuildFiles(directory, { at: new Date().toISOString(), type: 'verdict', verdict });
    } catch (error) {
      logger.warn({ operation: operation.id, error }, 'an interrupted operation could not be ended');
    }
  }
}
