import { spawn } from 'node:child_process';

/** How much of a tool's error output a failure message keeps, in characters. */
const tailLength = 2000;

/**
 * Runs a tool to its end; resolves with its standard output.
 * @throws Error with the tool's name, exit status and the end of its error output; the signal's reason on abort.
 */
export async function runTool(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-tailLength);
  });
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, name) => resolve(name ?? String(code)));
    });
    signal.throwIfAborted();
    if (status !== '0') throw new Error(`${command} ended with ${status}: ${errors.trim()}`);
    return output;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}
