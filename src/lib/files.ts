import { rm } from 'node:fs/promises';
import type { Logger } from './logger.ts';

/** Removes a file or a folder with all it holds. Never rejects: what stays is swept at the next start. */
export async function removeQuietly(path: string, logger?: Logger): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    logger?.warn({ path, error }, 'could not be removed');
  }
}
