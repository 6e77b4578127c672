import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { KilnError } from '../model/error.ts';

/** What every step of making an image is given. */
export type StepContext = {
  /** Holds one log file per step. */
  readonly logDirectory: string;
  /** A line for people. */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

/** A step that is silent for this long says what it is at. */
const heartbeatMs = 15_000;
const tailLines = 15;

/** Runs its arguments beside a watcher that ends the whole process group once kiln, which holds the other end of fd 3, is gone. */
const watched = '(cat; kill -KILL 0) <&3 >/dev/null 2>&1 & exec 3<&-; exec "$@"';

/**
 * Runs a program of a step; all it prints goes to the step's log file.
 * @throws KilnError INFRA with the log's path and its last lines; the signal's reason on abort.
 */
export async function runStep(
  command: string,
  args: readonly string[],
  context: StepContext & { name: string; env?: Readonly<Record<string, string>> },
): Promise<void> {
  const { name, signal, progress, logDirectory } = context;
  signal.throwIfAborted();
  await mkdir(logDirectory, { recursive: true });
  const logFile = join(logDirectory, `${name}.log`);
  const log = createWriteStream(logFile, { flags: 'a' });
  // The environment is passed on whole (proxies, Go's and apt's settings are the operator's business), ours on top of it.
  const assignments = Object.entries(context.env ?? {}).map(([variable, value]) => `${variable}=${value}`);
  // In a process group of its own, so that whatever it started ends with it.
  const child = spawn('env', [...assignments, 'sh', '-c', watched, 'sh', command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const closed = once(child, 'close');
  closed.catch(() => undefined);
  const tail: string[] = [];
  const keep = (bytes: Buffer): void => {
    log.write(bytes);
    tail.push(
      ...bytes
        .toString('utf8')
        .split('\n')
        .filter((line) => line.trim() !== ''),
    );
    tail.splice(0, tail.length - tailLines);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const end = (): void => killGroup(child.pid);
  signal.addEventListener('abort', end, { once: true });
  const started = performance.now();
  const heartbeat = setInterval(() => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    progress(`${name}  … ${seconds} s: ${(tail.at(-1) ?? '').trim().slice(0, 100)}`);
  }, heartbeatMs);
  try {
    const [code, killedBy] = await once(child, 'exit');
    end();
    await closed;
    signal.throwIfAborted();
    if (code === 0) return;
    const last = tail.join('\n');
    throw new KilnError(
      'INFRA',
      `${command} ended with ${killedBy ?? code}. Its last lines (all of them: ${logFile}):\n${last}`,
    );
  } finally {
    clearInterval(heartbeat);
    signal.removeEventListener('abort', end);
    log.end();
    await finished(log);
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended on its own in between.
  }
}
