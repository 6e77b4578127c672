import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditEntry } from '../../src/audit/audit-log.ts';

/** All lines of the audit log of a data folder. */
export async function readAudit(data: string): Promise<(AuditEntry & { readonly at: string })[]> {
  const directory = join(data, 'audit');
  const files = (await readdir(directory)).toSorted();
  const texts = await Promise.all(files.map((name) => readFile(join(directory, name), 'utf8')));
  return texts
    .join('')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditEntry & { at: string });
}
