import { LineTooLong, splitLines } from '../lib/lines.ts';
import { KilnError } from '../model/error.ts';

/** The lines that a guest sends. @throws KilnError INFRA for one that is too long: no BuildKit sends it, and the guest decides what it sends. */
export async function* guestLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Buffer, void> {
  try {
    yield* splitLines(chunks, maxBytes);
  } catch (error) {
    if (!(error instanceof LineTooLong)) throw error;
    const message = `The guest sent a line that is longer than ${maxBytes} bytes.`;
    throw new KilnError('INFRA', message, { cause: error });
  }
}
