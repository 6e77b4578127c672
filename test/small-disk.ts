import { execFile } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system of its own and of this size, to be filled; needs root. `inodes` counts its root and every file and folder. */
export async function createSmallDisk(
  mebibytes: number,
  { inodes = 0 } = {},
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-small-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,nr_inodes=${inodes}`, 'tmpfs', path]);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await run('umount', ['--lazy', path]);
      await rm(path, { recursive: true });
    },
  };
}

/** Writes a file until there is no room for another block. */
export async function fillDisk(path: string): Promise<void> {
  await using file = await open(path, 'w');
  const block = Buffer.alloc(4096, 1);
  for (;;) {
    try {
      await file.write(block);
    } catch {
      return;
    }
  }
}
