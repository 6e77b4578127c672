import { gather } from '../gather.ts';
import { Spool, type SpoolOptions } from '../spool.ts';
import { CompressedInput } from './compressed-input.ts';
import { decodeInThread } from './decode-in-thread.ts';
import type { Decoders } from './decoders.ts';
import { gzip } from './gzip.ts';
import { decodeMembers, refuseTrailingData } from './members.ts';
import { zstd } from './zstd.ts';

export type CompressionName = 'gzip' | 'bzip2' | 'xz' | 'zstd';

/**
 * What was compressed. Several streams behind one another are one, as their own tools read them; anything else behind them is refused.
 *
 * gzip is read as it comes. The decoders of all others hold much memory, so there are few: an upload has one only once all of
 * it is there, and keeps nobody waiting while its sender crawls.
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_TRAILING_DATA, ARCHIVE_UNSUPPORTED, NO_CAPACITY
 */
export async function* decompress(
  source: AsyncIterable<Buffer>,
  name: CompressionName,
  { decoders, signal, ...options }: SpoolOptions & { decoders: Decoders; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  if (name === 'gzip') {
    yield* decodeMembers(new CompressedInput(gather(source)), gzip, signal);
    return;
  }
  await using spool = await Spool.fill(source, options);
  using permit = await decoders.enter(signal);
  const input = new CompressedInput(gather(spool.read()));
  const held = AbortSignal.any([signal, permit.signal]);
  if (name === 'zstd') {
    yield* decodeMembers(input, zstd, held);
  } else {
    yield* decodeInThread(input, name, { signal: held });
    await refuseTrailingData(input, name);
  }
}
