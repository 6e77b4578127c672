import { createHash } from 'node:crypto';
import { constants, type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, removeQuietly } from '../lib/files.ts';
import { createSerial } from '../lib/serial.ts';
import type { Artifact } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { checkTarEnds } from './check-tar-ends.ts';

/** A raw disk that a guest wrote, and what the guest says is on it. */
export type ArtifactClaim = {
  readonly file: string;
  readonly format: Artifact['format'];
  /** Bytes of the artifact, from the beginning of the disk. */
  readonly bytes: number;
};

/** Kept outputs of builds: files named by the sha256 of their bytes. */
export type ArtifactStore = {
  /** A place for a raw disk that `keep` is then called with. What an earlier run of the service left there is gone. */
  incomingPath(name: string): string;
  /**
   * Takes over the raw disk a guest wrote, on the file system of this store: cuts it to the length the guest claims, checks
   * it, and moves it in. Nobody writes it any more. On failure the file is removed, wherever it has come to.
   * @param record Notes who holds the artifact now. No removal comes between the file and that note.
   * @throws KilnError ARTIFACT_INVALID, STORAGE_FULL
   */
  keep(
    claim: ArtifactClaim,
    record: (artifact: Artifact) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Artifact>;
  /** Absolute path of a kept file. */
  path(digest: Artifact['digest']): string;
  list(): Promise<Artifact['digest'][]>;
  /** Removes an artifact unless, in that moment, someone holds it. A reader that has it open reads it to its end. */
  remove(digest: Artifact['digest'], isHeld: () => Promise<boolean>): Promise<void>;
};

export async function openArtifactStore(directory: string): Promise<ArtifactStore> {
  const incoming = join(directory, 'incoming');
  const kept = join(directory, 'sha256');
  await rm(incoming, { recursive: true, force: true });
  for (const path of [incoming, kept]) await mkdir(path, { recursive: true, mode: 0o700 });
  const path = (digest: Artifact['digest']): string => join(kept, digest.slice('sha256:'.length));
  const oneByOne = createSerial();
  return {
    incomingPath: (name) => join(incoming, name),
    path,
    async keep({ file, format, bytes }, record, signal) {
      try {
        const digest = await seal(file, bytes, signal);
        // A build that was cancelled meanwhile keeps nothing.
        signal.throwIfAborted();
        const artifact = { format, digest, size: bytes };
        await oneByOne(() => moveIn({ file, target: path(digest), directory: kept }, () => record(artifact)));
        return artifact;
      } catch (error) {
        await removeQuietly(file);
        throw KilnError.from(error);
      }
    },
    list: async () => (await readdir(kept)).map((name): Artifact['digest'] => `sha256:${name}`),
    remove: (digest, isHeld) =>
      oneByOne(async () => {
        if (!(await isHeld())) await rm(path(digest), { force: true });
      }),
  };
}

/** What is not noted as somebody's is not kept, unless the same bytes were kept before. */
async function moveIn(
  { file, target, directory }: { file: string; target: string; directory: string },
  record: () => Promise<void>,
): Promise<void> {
  const wasKept = await exists(target);
  try {
    await rename(file, target);
    await syncDirectory(directory);
    await record();
  } catch (error) {
    if (!wasKept) await removeQuietly(target);
    throw error;
  }
}

/** All through one handle, so that what is kept is the file that was checked. */
async function seal(file: string, bytes: number, signal: AbortSignal): Promise<Artifact['digest']> {
  await using handle = await openPlainFile(file);
  await checkTarEnds(handle, bytes);
  await handle.truncate(bytes);
  const digest = await hash(handle, signal);
  await handle.chmod(0o400);
  await handle.chown(process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  await handle.sync();
  return `sha256:${digest}`;
}

/** The file was QEMU's own, which may have given it a second name where it can still be written. */
async function openPlainFile(file: string): Promise<FileHandle> {
  const handle = await open(file, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: unknown) => {
      throw new KilnError(
        'ARTIFACT_INVALID',
        'The file that the artifact was written to cannot be opened; it is not kept.',
        {
          cause: error,
        },
      );
    },
  );
  const stats = await handle.stat();
  if (stats.isFile() && stats.nlink === 1) return handle;
  await handle.close();
  throw new KilnError(
    'ARTIFACT_INVALID',
    'The file that the artifact was written to was replaced, or given a second name; it is not kept.',
  );
}

async function hash(handle: FileHandle, signal: AbortSignal): Promise<string> {
  const sum = createHash('sha256');
  for await (const chunk of handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 1 << 20 })) {
    signal.throwIfAborted();
    sum.update(chunk);
  }
  return sum.digest('hex');
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r');
  await handle.sync();
}
