import type { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Response } from 'express';

/** How long a client has to close its side of a connection that was ended, in ms. */
const lingerMs = 5000;
const resetDelayMs = 500;

/**
 * Ends a stream so that the client must notice: everything is sent, the last chunk of the chunked coding is not. curl then
 * exits with 18. FIN and not RST, which could overtake what is still on its way; only to HTTP/1.0, where every answer ends by
 * FIN, RST is the one sign there is, given when all else was taken.
 * @param stallMs How long the client may take for what was not sent yet.
 */
export async function cutOff({ socket, req }: Response, stallMs: number): Promise<void> {
  if (!socket) return;
  if (req.httpVersionMinor === 0) {
    await resetWhenTaken(socket, stallMs);
    return;
  }
  const given = (ms: number) => ({ cleanup: true, signal: AbortSignal.timeout(ms) });
  try {
    socket.end();
    await finished(socket, { ...given(stallMs), readable: false });
    await finished(socket, given(lingerMs));
  } catch {
    // Whoever does not take the end, or does not close in turn, is gone.
  } finally {
    socket.destroy();
  }
}

async function resetWhenTaken(socket: Socket, stallMs: number): Promise<void> {
  const written = new Promise((resolve) => socket.write('', resolve));
  await Promise.race([written, sleep(stallMs, undefined, { ref: false })]);
  // What the system still holds for the other end would be lost.
  await sleep(resetDelayMs);
  socket.resetAndDestroy();
}
