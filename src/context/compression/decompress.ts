import { CompressedInput } from './compressed-input.ts';
import { decodeInThread } from './decode-in-thread.ts';
import { gzip } from './gzip.ts';
import { decodeMembers, refuseTrailingData } from './members.ts';
import { zstd } from './zstd.ts';

export type CompressionName = 'gzip' | 'bzip2' | 'xz' | 'zstd';

/**
 * What was compressed. Several streams behind one another are one, as their own tools read them; anything else behind them is refused.
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_TRAILING_DATA, ARCHIVE_UNSUPPORTED
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  name: CompressionName,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const input = new CompressedInput(source);
  if (name === 'gzip') {
    yield* decodeMembers(input, gzip);
  } else if (name === 'zstd') {
    yield* decodeMembers(input, zstd);
  } else {
    yield* decodeInThread(input, name, { signal });
    await refuseTrailingData(input, name);
  }
}
