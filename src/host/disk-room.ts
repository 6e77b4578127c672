import { statfs } from 'node:fs/promises';
import { KilnError } from '../model/error.ts';

const retryAfterSeconds = 60;

/** A build that would fill the disk would take all others with it. @throws KilnError NO_CAPACITY */
export async function refuseWithoutRoom(directory: string, minFreeBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (free >= minFreeBytes) return;
  const message = `The disk of the build service is nearly full: ${free} bytes are free, builds are taken from ${minFreeBytes} on.`;
  throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
}
