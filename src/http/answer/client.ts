import { once } from 'node:events';
import type { Request, Response } from 'express';
import { withDeadline } from '../../lib/abort.ts';
import { KilnError } from '../../model/error.ts';

/** Aborts with CLIENT_GONE when the connection closes, until it is disposed. */
export function watchClient({ socket }: Request): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const leave = (): void => controller.abort(new KilnError('CLIENT_GONE', 'The client went away.'));
  if (socket.destroyed) leave();
  else socket.once('close', leave);
  return { signal: controller.signal, [Symbol.dispose]: () => void socket.off('close', leave) };
}

export type Writer = {
  /** Resolves when the client has room for more. @throws KilnError CLIENT_GONE, also for one that takes nothing */
  write(data: string | Buffer): Promise<void>;
  /** A sign of life; not even asked for while the client has not taken what was sent before. */
  nudge(text: () => string): void;
};

/** Sends the headers of a stream at once and then each piece as it comes, no faster than the client takes them. */
export function openStream(
  response: Response,
  options: { type: string; stallMs: number },
  signal: AbortSignal,
): Writer {
  const { type, stallMs } = options;
  response.status(200).set({
    'Content-Type': type,
    'X-Accel-Buffering': 'no',
  });
  response.flushHeaders();
  const reason = (): Error =>
    new KilnError('CLIENT_GONE', `The client took nothing for ${stallMs / 1000} seconds.`);
  return {
    async write(data) {
      signal.throwIfAborted();
      if (response.write(data)) return;
      await withDeadline({ ms: stallMs, signal, reason }, (limited) =>
        once(response, 'drain', { signal: limited }),
      );
    },
    nudge(text) {
      if (response.writableNeedDrain) return;
      const sign = text();
      if (sign !== '') response.write(sign);
    },
  };
}
