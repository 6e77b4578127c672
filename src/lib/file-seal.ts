import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { hashFile } from './hash.ts';

/** What a file was: enough to see later, at little cost or with certainty, whether it still is that. */
export const fileSealSchema = z.object({
  sha256: z.string(),
  bytes: z.number(),
  /** Nanoseconds since 1970, in decimal. */
  modified: z.string(),
  inode: z.string(),
  /** sha256 of some blocks all over the file. */
  sample: z.string(),
});
export type FileSeal = z.infer<typeof fileSealSchema>;

const blockBytes = 64 * 1024;
const blocks = 64;

/** Reads the whole file. @throws when it cannot be read. */
export async function sealFile(path: string, signal: AbortSignal): Promise<FileSeal> {
  const { sample, ...looks } = await lookAt(path);
  return { ...looks, sample, sha256: await hashFile(path, signal) };
}

/** A few milliseconds, whatever the size: what was overwritten, cut or replaced by accident is seen, single bytes may not be. */
export async function looksSealed(path: string, seal: FileSeal): Promise<boolean> {
  const now = await lookAt(path);
  return (['bytes', 'modified', 'inode', 'sample'] as const).every((part) => now[part] === seal[part]);
}

async function lookAt(path: string): Promise<Omit<FileSeal, 'sha256'>> {
  await using file = await open(path, 'r');
  const { size, mtimeNs, ino } = await file.stat({ bigint: true });
  const bytes = Number(size);
  const hash = createHash('sha256');
  const step = Math.max(blockBytes, Math.floor((bytes - blockBytes) / (blocks - 1)));
  for (let position = 0; position < bytes; position += step) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(blockBytes), 0, blockBytes, position);
    hash.update(buffer.subarray(0, bytesRead));
  }
  return { bytes, modified: String(mtimeNs), inode: String(ino), sample: hash.digest('hex') };
}
