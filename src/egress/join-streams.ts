import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Whoever closed its end has this long until what it sent last must be taken, in ms. */
const lingerMs = 30_000;

/**
 * Carries bytes both ways between a guest and an origin: each side's end is the other's, one way at a time, and a reset is a
 * reset. Of what the guest does not take, one chunk is held.
 *
 * In the guest, an end is seen as the end of the stream; a reset as an end of both directions at once (the socket hangs up),
 * since ssh has no word for it but to close the channel without an end of its data.
 */
export function joinStreams(
  guest: Duplex,
  origin: Socket,
  on: { readonly received: (bytes: Buffer) => void; readonly sent: (bytes: Buffer) => void },
): void {
  origin.on('data', (chunk: Buffer) => {
    on.received(chunk);
    origin.pause();
    guest.write(chunk, () => origin.resume());
  });
  origin.once('end', () => guest.end());
  origin.once('close', (failed) => {
    // Where both sides have ended, each by itself, nothing is cut.
    if (failed || !origin.readableEnded || !guest.readableEnded) guest.destroy();
  });

  guest.on('data', (chunk: Buffer) => {
    on.sent(chunk);
    if (origin.write(chunk)) return;
    guest.pause();
    origin.once('drain', () => guest.resume());
  });
  // A guest may have said all it has to say before its origin was there.
  if (guest.readableEnded) origin.end();
  else guest.once('end', () => origin.end());
  guest.once('close', () => {
    if (origin.destroyed) return;
    // What it sent last may still be on its way.
    origin.removeAllListeners('data').resume();
    origin.setTimeout(lingerMs, () => origin.destroy());
    origin.destroySoon();
  });
}
