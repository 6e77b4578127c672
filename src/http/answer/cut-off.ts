import { finished } from 'node:stream/promises';
import type { Response } from 'express';

/** How long a client has to close its side of a connection that was ended, in ms. */
const lingerMs = 5000;

/**
 * Ends a stream so that the client must notice: everything is sent, the last chunk of the chunked coding is not. curl then
 * exits with 18. It is ended with FIN: an RST can overtake bytes that are still on their way.
 * @param stallMs How long the client may take for what was not sent yet.
 */
export async function cutOff({ socket }: Response, stallMs: number): Promise<void> {
  if (!socket) return;
  const given = (ms: number) => ({ cleanup: true, signal: AbortSignal.timeout(ms) });
  try {
    socket.end();
    await finished(socket, { ...given(stallMs), readable: false });
    await finished(socket, given(lingerMs));
  } catch {
    // The client neither took the rest nor closed its side in time.
  } finally {
    socket.destroy();
  }
}
