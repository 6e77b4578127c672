import { KilnError } from '../model/error.ts';
import { type Inflated, inflate } from './inflate.ts';
import { isZero } from './tar/tar-header.ts';

const chunkSize = 256 * 1024;
const trailerBytes = 8;
const maxHeaderBytes = 64 * 1024;
/** bsdtar, the tar of macOS and Windows, fills its last record with zeros when it writes to a pipe, behind the gzip stream. */
const recordBytes = 10_240;

/**
 * One gzip member, and nothing after it but a record's padding. node:zlib's own Gunzip joins members and ignores what follows them, which other
 * readers do not; so the frame (RFC 1952) is read here and zlib inflates.
 * @throws ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_TRAILING_DATA
 */
export async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const input = new CountedInput(source);
  const first = await readHeader(input);
  const options = { chunkSize, maxBytes: Number.POSITIVE_INFINITY, maxRestBytes: trailerBytes + recordBytes };
  try {
    const inflated = yield* inflate(input.after(first), options);
    checkTrailer(inflated, input.bytes);
  } catch (error) {
    throw zlibError(error);
  }
}

/** Reads up to the compressed data; returns what of the input was read beyond the header. */
async function readHeader(input: CountedInput): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const end = headerEnd(bytes);
    if (end !== null) return bytes.subarray(end);
    if (bytes.length > maxHeaderBytes) throw corrupt('has a header that is too long');
    const chunk = await input.next();
    if (!chunk) throw truncated();
    bytes = Buffer.concat([bytes, chunk]);
  }
}

/** Offset of the first compressed byte; null when more bytes are needed. */
function headerEnd(bytes: Buffer): number | null {
  if (bytes.length < 10) return null;
  const flags = bytes[3] ?? 0;
  if (bytes[2] !== 8 || (flags & 0xe0) !== 0) throw corrupt('uses an unknown compression');
  let end = 10;
  if (flags & 4) {
    if (bytes.length < end + 2) return null;
    end += 2 + bytes.readUInt16LE(end);
  }
  // File name, then comment, each ended by NUL.
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue;
    const nul = bytes.indexOf(0, end);
    if (nul < 0) return null;
    end = nul + 1;
  }
  if (flags & 2) end += 2;
  return end <= bytes.length ? end : null;
}

class CountedInput {
  bytes = 0;
  readonly #source: AsyncIterator<Buffer>;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Null at the end. */
  async next(): Promise<Buffer | null> {
    const { done, value } = await this.#source.next();
    if (done) return null;
    this.bytes += value.length;
    return value;
  }

  /** What was read ahead, and all that comes after it. */
  async *after(first: Buffer): AsyncGenerator<Buffer> {
    for (let chunk: Buffer | null = first; chunk; chunk = await this.next()) yield chunk;
  }
}

function checkTrailer({ crc32, length, rest }: Inflated, inputBytes: number): void {
  if (rest.length < trailerBytes) throw truncated();
  const padding = rest.subarray(trailerBytes);
  const fillsRecord = padding.length < recordBytes && inputBytes % recordBytes === 0;
  if (padding.length > 0 && !(fillsRecord && isZero(padding))) {
    throw new KilnError(
      'ARCHIVE_TRAILING_DATA',
      'There is more data after the end of the gzip stream; send one archive alone.',
    );
  }
  if (rest.readUInt32LE(0) !== crc32 || rest.readUInt32LE(4) !== length % 2 ** 32) {
    throw corrupt('does not match its own checksum');
  }
}

function zlibError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof KilnError) return error;
  if (error.code === 'Z_BUF_ERROR') return truncated(error);
  return String(error.code).startsWith('Z_') ? corrupt('has compressed data that is damaged', error) : error;
}

function corrupt(what: string, cause?: unknown): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', `The gzip stream ${what}; make the archive again.`, { cause });
}

function truncated(cause?: unknown): KilnError {
  return new KilnError('ARCHIVE_TRUNCATED', 'The gzip stream ends in the middle; send all of it.', { cause });
}
