import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Removes a disk once its standard input has ended, which the end of a process does too; Ctrl-C reaches none of another session. */
const keeper = 'read -r _; umount --lazy "$0" && rmdir "$0"';

/**
 * A file system of its own and of this size, to be filled; needs root. It goes with this process at the latest.
 * `inodes` counts its root and every file and folder.
 */
export async function createSmallDisk(
  mebibytes: number,
  { inodes = 0 } = {},
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-small-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,nr_inodes=${inodes}`, 'tmpfs', path]);
  const kept = spawn('sh', ['-c', keeper, path], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
  const removed = once(kept, 'exit');
  return {
    path,
    async [Symbol.asyncDispose]() {
      kept.stdin.end();
      await removed;
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
