import { KilnError } from '../../model/error.ts';
import { isZero } from '../tar/tar-header.ts';
import type { CompressedInput } from './compressed-input.ts';

/** What may stand several times in one file, each time a part of the same stream of bytes: gzip's members, zstd's frames. */
export type Compression = {
  readonly name: string;
  /** How many bytes tell that another one begins. */
  readonly magicBytes: number;
  begins(bytes: Buffer): boolean;
  /** Reads one, and nothing behind it. */
  decode(input: CompressedInput): AsyncGenerator<Buffer>;
};

/** One for each file, as estargz has them, is a fifth of it; each takes time of its own, however small it is. */
const maxMembers = 1_000_000;

/** bsdtar, the tar of macOS and Windows, fills its last record with zeros when it writes to a pipe, behind what it compressed. */
const recordBytes = 10_240;

/** @throws KilnError ARCHIVE_TRAILING_DATA, those of `decode`, and the reason of the signal, also while nothing comes out */
export async function* decodeMembers(
  input: CompressedInput,
  compression: Compression,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { name, magicBytes } = compression;
  for (let count = 1; ; count += 1) {
    for await (const part of compression.decode(input)) {
      signal.throwIfAborted();
      yield part;
    }
    signal.throwIfAborted();
    if (!compression.begins(await input.peek(magicBytes))) break;
    if (count === maxMembers) throw tooManyStreams(name, maxMembers);
  }
  await refuseTrailingData(input, name);
}

/** Padding is all that may follow. @throws KilnError ARCHIVE_TRAILING_DATA */
export async function refuseTrailingData(input: CompressedInput, name: string): Promise<void> {
  const rest = await input.peek(recordBytes);
  const fillsRecord = rest.length < recordBytes && input.bytes % recordBytes === 0;
  if (rest.length === 0 || (fillsRecord && isZero(rest))) return;
  throw new KilnError(
    'ARCHIVE_TRAILING_DATA',
    `There is more data after the end of the ${name} stream; send one archive alone.`,
  );
}

export function corruptStream(name: string, what: string, cause?: unknown): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', `The ${name} stream ${what}; make the archive again.`, { cause });
}

export function tooManyStreams(name: string, max: number): KilnError {
  const message = `The archive has more than ${max} ${name} streams; make it again as one.`;
  return new KilnError('ARCHIVE_CORRUPT', message);
}

export function truncatedStream(name: string, cause?: unknown): KilnError {
  return new KilnError('ARCHIVE_TRUNCATED', `The ${name} stream ends in the middle; send all of it.`, {
    cause,
  });
}
