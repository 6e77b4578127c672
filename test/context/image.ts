import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';

const run = promisify(execFile);
let installed: Promise<void> | null = null;

/** Folders of an image: all of it, and the build's own context in it. */
type Extracted = { readonly root: string; readonly directory: string };

/**
 * What a staged image holds, read by the file system's own tool. It gives no xattrs and makes copies of hard links: those are
 * seen where the guest mounts one, in test/e2e/context.test.ts.
 */
export async function extractImage(image: string): Promise<AsyncDisposable & Extracted> {
  installed ??= installTools([{ find: 'fsck.erofs', package: 'erofs-utils' }]);
  await installed;
  const root = await mkdtemp(join(tmpdir(), 'kiln-image-'));
  // Giving a file away clears its setuid bit.
  const options = ['--overwrite', '--preserve-perms', '--no-preserve-owner'];
  await run('fsck.erofs', [`--extract=${root}`, ...options, image]);
  return {
    ...{ root, directory: join(root, 'context') },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
}

/** A line for each file, folder and link below a folder, as `find -printf` gives it. */
export async function listTree(directory: string, format: string): Promise<string[]> {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' };
  const { stdout } = await run('find', ['.', '-mindepth', '1', '-printf', `${format}\\n`], {
    cwd: directory,
    env,
  });
  return stdout.split('\n').slice(0, -1).sort();
}
