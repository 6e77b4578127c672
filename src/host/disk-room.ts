import { lstat, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { KilnError } from '../model/error.ts';

const retryAfterSeconds = 60;
const bytesPerCheck = 32 * 1024 * 1024;

/** Bytes that may still be written to the disk of a folder. */
export async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

/** No new build on a disk that is nearly full: one that fills it fails all others, too. @throws KilnError NO_CAPACITY */
export async function refuseWithoutRoom(directory: string, minFreeBytes: number): Promise<void> {
  const free = await freeBytes(directory);
  if (free >= minFreeBytes) return;
  const message = `The disk of the build service is nearly full: ${free} bytes are free, builds are taken from ${minFreeBytes} on.`;
  throw new KilnError('NO_CAPACITY', message, { details: { retryAfterSeconds } });
}

/** What a file, or all files in a folder, take up on the disk; 0 for what is not there. */
export async function bytesOnDisk(path: string): Promise<number> {
  try {
    const stats = await lstat(path);
    if (!stats.isDirectory()) return stats.blocks * 512;
    const names = await readdir(path);
    const sizes = await Promise.all(names.map((name) => bytesOnDisk(join(path, name))));
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
}

/** Looks again and again while a large file is written. */
export class RoomWatch {
  readonly #directory: string;
  readonly #minFreeBytes: number;
  #unchecked = 0;

  constructor(directory: string, minFreeBytes: number) {
    this.#directory = directory;
    this.#minFreeBytes = minFreeBytes;
  }

  /** @throws KilnError NO_CAPACITY */
  async wrote(bytes: number): Promise<void> {
    this.#unchecked += bytes;
    if (this.#unchecked < bytesPerCheck) return;
    this.#unchecked = 0;
    await refuseWithoutRoom(this.#directory, this.#minFreeBytes);
  }
}
