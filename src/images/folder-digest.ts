import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * sha256 (lower-case hex) of all that a build sees of a folder: names, modes, links and bytes, but no times and no owners.
 * @throws Error where a part of it cannot be read
 */
export async function folderDigest(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const path of (await readdir(directory, { recursive: true })).toSorted()) {
    const whole = join(directory, path);
    const file = await lstat(whole);
    const content = file.isFile()
      ? await readFile(whole)
      : Buffer.from(file.isSymbolicLink() ? await readlink(whole) : '');
    hash.update(JSON.stringify([path, file.mode, content.length])).update(content);
  }
  return hash.digest('hex');
}
