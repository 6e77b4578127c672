import type { EventEmitter } from 'node:events';

/** What Node keeps of a stream. */
type Internals = Partial<Record<'_readableState' | '_writableState', { highWaterMark: number }>>;

/**
 * Has a call's stream hold one message each way. grpc-js lets nobody choose, and takes 16 of whatever size: of a sender who is faster than the
 * disk 40 MiB for each call, and as much for a client that reads nothing.
 */
export function holdLittle(call: EventEmitter): void {
  const { _readableState: readable, _writableState: writable } = call as EventEmitter & Internals;
  if (readable) readable.highWaterMark = 1;
  if (writable) writable.highWaterMark = 1;
}
