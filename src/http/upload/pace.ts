import type { Request } from 'express';
import { KilnError } from '../../model/error.ts';
import { minimumUploadRate } from '../settings.ts';

/** Aborts with UPLOAD_TIMEOUT when the body of a request stalls or crawls, until it is disposed. */
export function watchPace(request: Request, stallMs: number): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const { socket } = request;
  const start = { at: performance.now(), bytes: socket.bytesRead };
  let last = start;
  const check = (): void => {
    const now = { at: performance.now(), bytes: socket.bytesRead };
    if (now.bytes > last.bytes) last = now;
    const age = now.at - start.at;
    const crawls = age > stallMs && now.bytes - start.bytes < (age / 1000) * minimumUploadRate;
    if (request.complete || (now.at - last.at < stallMs && !crawls)) return;
    controller.abort(
      new KilnError('UPLOAD_TIMEOUT', 'The upload stalled; send it again over a faster connection.'),
    );
  };
  const timer = setInterval(check, Math.min(1000, stallMs / 4));
  return { signal: controller.signal, [Symbol.dispose]: () => clearInterval(timer) };
}
