import { mkdir, open, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from '../lib/hash.ts';
import type { Artifact } from '../model/build.ts';
import { KilnError } from '../model/error.ts';

/** Kept outputs of builds: files named by the sha256 of their bytes. */
export type ArtifactStore = {
  /** Cuts the raw disk a guest wrote to the length it claims, checks it, and moves it in. @throws ARTIFACT_INVALID */
  keep(
    file: string,
    claim: { format: Artifact['format']; bytes: number },
    signal: AbortSignal,
  ): Promise<Artifact>;
  /** Absolute path of a kept file. */
  path(digest: Artifact['digest']): string;
};

const blockBytes = 512;

export async function openArtifactStore(directory: string): Promise<ArtifactStore> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = (digest: Artifact['digest']): string => join(directory, digest.slice('sha256:'.length));
  return {
    path,
    async keep(file, { format, bytes }, signal) {
      await checkTar(file, bytes);
      await truncate(file, bytes);
      const digest = `sha256:${await hashFile(file, signal)}` as const;
      await seal(file);
      await rename(file, path(digest));
      await syncDirectory(directory);
      return { format, digest, size: bytes };
    },
  };
}

/** Cheap and without unpacking: whole blocks, a tar header first, the two zero blocks last. What is inside is for the user. */
async function checkTar(file: string, bytes: number): Promise<void> {
  await using handle = await open(file, 'r');
  const { size } = await handle.stat();
  const first = Buffer.alloc(blockBytes);
  const last = Buffer.alloc(2 * blockBytes, 1);
  const sane = bytes >= 3 * blockBytes && bytes <= size && bytes % blockBytes === 0;
  if (sane) {
    await handle.read(first, 0, first.length, 0);
    await handle.read(last, 0, last.length, bytes - last.length);
  }
  if (!sane || first.toString('latin1', 257, 262) !== 'ustar' || !last.every((byte) => byte === 0)) {
    throw new KilnError('ARTIFACT_INVALID', 'What the build put out is not a complete tar.');
  }
}

async function seal(file: string): Promise<void> {
  await using handle = await open(file, 'r+');
  await handle.chmod(0o400);
  await handle.chown(process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  await handle.sync();
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}
