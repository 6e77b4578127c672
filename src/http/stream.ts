import { once } from 'node:events';
import type { Request, Response } from 'express';
import { withDeadline } from '../lib/abort.ts';
import { KilnError } from '../model/error.ts';

/** A client that takes nothing for this long is dropped; it can come back with an offset. */
const stallMs = 60_000;

export type Writer = { write(data: string | Buffer): Promise<void> };

/** Aborts when the connection is closed before the answer is complete. */
export function clientGoneSignal(request: Request, response: Response): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort(new KilnError('CLIENT_GONE', 'The client went away.'));
  });
  request.on('error', () => undefined);
  return controller.signal;
}

/** Sends the headers of a stream at once and then each piece as it comes, no faster than the client takes them. */
export function createWriter(response: Response, type: string, signal: AbortSignal): Writer {
  response.status(200).set({
    'Content-Type': type === 'text/plain' ? 'text/plain; charset=utf-8' : type,
    'Cache-Control': 'no-store',
    'X-Accel-Buffering': 'no',
  });
  response.flushHeaders();
  response.socket?.setNoDelay(true);
  const reason = (): Error => new KilnError('CLIENT_GONE', 'The client took nothing for a minute.');
  return {
    async write(data) {
      signal.throwIfAborted();
      if (response.write(data)) return;
      await withDeadline({ ms: stallMs, signal, reason }, () => once(response, 'drain'));
    },
  };
}
