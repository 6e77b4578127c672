import type { EventEmitter } from 'node:events';
import type { Deadline } from '@grpc/grpc-js';
import { KilnError } from '../model/error.ts';

/** What every kind of grpc-js server call has. */
type ServerCall = EventEmitter & { readonly cancelled: boolean; getDeadline(): Deadline };

/** One call's signal: client gone ∪ deadline ∪ shutdown. Disposing it releases timer and listeners. */
export type Operation = Disposable & { readonly signal: AbortSignal };

/** @param maxMs Deadline of a call that names none, or a later one. */
export function startOperation(
  call: ServerCall,
  options: { maxMs: number; shutdown: AbortSignal },
): Operation {
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
