import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** A wait shorter than this is not worth a word. */
const quietMs = 500;

/**
 * Holds an exclusive lock on a file until disposed, waiting for whoever holds it now. The kernel frees it with the process
 * that holds it, and that one ends when its standard input does: no lock outlives this process, however it ends.
 */
export async function holdLock(
  path: string,
  { onWait, signal }: { onWait: () => void; signal: AbortSignal },
): Promise<AsyncDisposable> {
  signal.throwIfAborted();
  const holder = spawn('flock', ['--no-fork', path, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = new Promise<string>((resolve) => {
    holder.once('error', (error) => resolve(error.message));
    holder.once('exit', (code, name) => resolve(String(name ?? code)));
  });
  const lock = {
    async [Symbol.asyncDispose]() {
      holder.kill('SIGKILL');
      await exited;
    },
  };
  const settled = new AbortController();
  const given = once(holder.stdout, 'data', { signal: AbortSignal.any([signal, settled.signal]) });
  sleep(quietMs, undefined, { signal: settled.signal }).then(onWait, () => undefined);
  try {
    await Promise.race([given, exited.then((why) => Promise.reject(new Error(`flock ${path}: ${why}`)))]);
    return lock;
  } catch (error) {
    await lock[Symbol.asyncDispose]();
    throw signal.aborted ? signal.reason : error;
  } finally {
    given.catch(() => undefined);
    settled.abort();
  }
}
