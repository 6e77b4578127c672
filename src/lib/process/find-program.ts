import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/**
 * The absolute path of a program, as a shell finds it.
 * @param path Where programs are looked for, as in $PATH.
 */
export async function findProgram(name: string, path: string): Promise<string | null> {
  for (const directory of path.split(delimiter).filter((part) => part.startsWith('/'))) {
    const candidate = join(directory, name);
    if (await isProgram(candidate)) return candidate;
  }
  return null;
}

async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
