import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { KilnError } from '../model/error.ts';

/** Resolves when the next message may be sent: that is how a reader's pace reaches the source. */
export type Send<Message> = (message: Message) => Promise<void>;

/** The sender rejects with TRANSFER_STALLED when the client takes nothing for `stallMs`, else with the signal's reason. */
export function createSend<Message>(
  stream: Pick<Writable, 'write'> & NodeJS.EventEmitter,
  options: { stallMs: number; signal: AbortSignal },
): Send<Message> {
  return async (message) => {
    options.signal.throwIfAborted();
    if (stream.write(message)) return;
    const stalled = AbortSignal.timeout(options.stallMs);
    try {
      await once(stream, 'drain', { signal: AbortSignal.any([options.signal, stalled]) });
    } catch (error) {
      options.signal.throwIfAborted();
      if (!stalled.aborted) throw error;
      throw new KilnError(
        'TRANSFER_STALLED',
        `The client read nothing for ${options.stallMs / 1000} s; read on with WatchBuild.`,
      );
    }
  };
}
