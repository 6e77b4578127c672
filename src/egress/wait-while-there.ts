import type { Duplex } from 'node:stream';
import type { Share } from '../lib/fair-share.ts';
import type { Permit } from '../lib/semaphore.ts';

/** Null where the stream is gone: whoever has left does not stand in line. */
export async function waitWhileThere(share: Share, stream: Duplex): Promise<Permit | null> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  stream.once('close', leave);
  if (stream.destroyed) leave();
  try {
    const permit = await share.acquire(gone.signal);
    // Destroyed, it says so only a turn later.
    if (!gone.signal.aborted && !stream.destroyed) return permit;
    permit[Symbol.dispose]();
    return null;
  } catch {
    return null;
  } finally {
    stream.off('close', leave);
  }
}
