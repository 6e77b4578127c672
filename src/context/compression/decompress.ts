import { CompressedInput } from './compressed-input.ts';
import { decodeInThread } from './decode-in-thread.ts';
import type { Decoders } from './decoders.ts';
import { gzip } from './gzip.ts';
import { decodeMembers, refuseTrailingData } from './members.ts';
import { zstd } from './zstd.ts';

export type CompressionName = 'gzip' | 'bzip2' | 'xz' | 'zstd';

/**
 * What was compressed. Several streams behind one another are one, as their own tools read them; anything else behind them is refused.
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_TRAILING_DATA, ARCHIVE_UNSUPPORTED, NO_CAPACITY
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  name: CompressionName,
  { decoders, signal }: { decoders: Decoders; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  const input = new CompressedInput(source);
  if (name === 'gzip') {
    yield* decodeMembers(input, gzip);
    return;
  }
  using _permit = await decoders.enter(signal);
  if (name === 'zstd') {
    yield* decodeMembers(input, zstd);
  } else {
    yield* decodeInThread(input, name, { signal });
    await refuseTrailingData(input, name);
  }
}
