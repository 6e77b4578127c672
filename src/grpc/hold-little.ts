import type { Readable } from 'node:stream';

/** What Node keeps of a readable stream. */
type Internals = { readonly _readableState: { highWaterMark: number } };

/**
 * Has a call's stream of messages hold the next one alone. grpc-js reads 16 ahead, of whatever size, and lets nobody choose: of a sender who
 * is faster than the disk, or means it, that is 40 MiB for each call.
 */
export function holdLittle(messages: Readable): void {
  (messages as unknown as Internals)._readableState.highWaterMark = 1;
}
