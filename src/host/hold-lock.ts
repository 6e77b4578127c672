import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type PipedProcess, startPiped } from '../lib/process/start-process.ts';

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
  const holder = startPiped({
    command: 'flock',
    args: ['--no-fork', path, 'sh', '-c', 'echo held; exec cat'],
  });
  const settled = new AbortController();
  sleep(quietMs, undefined, { signal: settled.signal }).then(onWait, () => undefined);
  try {
    const linked = AbortSignal.any([signal, settled.signal]);
    await Promise.race([once(holder.stdout, 'data', { signal: linked }), throwOnEnd(path, holder)]);
    return {
      async [Symbol.asyncDispose]() {
        await holder.kill();
      },
    };
  } catch (error) {
    await holder.kill();
    throw signal.aborted ? signal.reason : error;
  } finally {
    settled.abort();
  }
}

async function throwOnEnd(path: string, { ended }: PipedProcess): Promise<never> {
  const { how } = await ended;
  throw new Error(`flock ${path}: ${how}`);
}
