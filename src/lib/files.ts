import { access, open, readFile, rename, rm, writeFile } from 'node:fs/promises';

/**
 * Removes a file or a folder with all it holds. Never rejects, as whoever tidies up must not fail by it: what stays is told as a
 * warning of the process, and swept at the next start.
 */
export async function removeQuietly(path: string): Promise<void> {
  await tryToRemove(path);
}

/** The same. @returns whether nothing is left of it */
export async function tryToRemove(path: string): Promise<boolean> {
  try {
    await rm(path, { recursive: true, force: true });
    return true;
  } catch (cause) {
    process.emitWarning(new Error(`${path} could not be removed.`, { cause }));
    return false;
  }
}

/** Whether there is anything of this name that this process can see. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The text of a file; null where there is none. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** Resolves when the names in a folder are on the disk: those of new files are lost with the power until then. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** Writes a file whole or not at all, also where the power fails: what it held before is there until then. */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { flush: true });
  await rename(`${path}.new`, path);
}
