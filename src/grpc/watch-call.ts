import type { EventEmitter } from 'node:events';
import type { Deadline } from '@grpc/grpc-js';
import { KilnError } from '../model/error.ts';

/** What every kind of grpc-js server call has. */
type ServerCall = EventEmitter & { readonly cancelled: boolean; getDeadline(): Deadline };

/**
 * Aborts when the client is gone, the deadline has passed or the service shuts down, until it is disposed.
 * @param options.maxMs Deadline of a call that names none, or a later one.
 */
export function watchCall(
  call: ServerCall,
  options: { maxMs: number; shutdown: AbortSignal },
): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const deadline = Math.min(Number(call.getDeadline()), Date.now() + options.maxMs);
  const onDeadline = (): void => controller.abort(deadlinePassed());
  // grpc-js tells the client of a passed deadline by itself, then reports the call as cancelled.
  const onCancelled = (): void => controller.abort(Date.now() >= deadline ? deadlinePassed() : clientGone());
  const timer = setTimeout(onDeadline, Math.max(0, deadline - Date.now()));
  call.once('cancelled', onCancelled);
  if (call.cancelled) onCancelled();
  return {
    signal: AbortSignal.any([controller.signal, options.shutdown]),
    [Symbol.dispose]() {
      clearTimeout(timer);
      call.off('cancelled', onCancelled);
    },
  };
}

function deadlinePassed(): KilnError {
  return new KilnError('TIMEOUT', 'The deadline of the call passed; give it a later one.');
}

function clientGone(): KilnError {
  return new KilnError('CLIENT_GONE', 'The client ended the call.');
}
