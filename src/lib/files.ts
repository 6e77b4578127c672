import { rm } from 'node:fs/promises';
import type { Log } from './log.ts';

/** Removes a file or a folder with all it holds. Never rejects: what stays is swept at the next start. */
export async function removeQuietly(path: string, log?: Log): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    log?.warn({ path, error }, 'could not be removed');
  }
}
