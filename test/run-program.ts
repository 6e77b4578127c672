import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { tied } from './tied.ts';

export type Ended = { readonly status: number; readonly stdout: string; readonly stderr: string };

/**
 * Runs one of kiln's programs, which must end by itself, without npm around it.
 * @param program from the top of the repository, such as `src/main.ts`
 * @param env beside what this process has
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const path = join(import.meta.dirname, '..', program);
  const child = spawn(...tied(process.execPath, [path, ...args]), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr, [status]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  return { status, stdout, stderr };
}
