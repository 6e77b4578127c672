import { crc32, createInflateRaw, type InflateRaw } from 'node:zlib';
import { KilnError } from '../model/error.ts';
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
  const inflate = createInflateRaw({ chunkSize });
  const feed = feedInflate(inflate, first, input);
  feed.catch((error: unknown) => inflate.destroy(error instanceof Error ? error : new Error(String(error))));
  let checksum = 0;
  let length = 0;
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      checksum = crc32(chunk, checksum);
      length += chunk.length;
      yield chunk;
    }
  } catch (error) {
    throw zlibError(error);
  } finally {
    // Not `await using`: that fails for a stream whose input was not ended.
    inflate.destroy();
  }
  checkTrailer(await feed, { checksum, length, inputBytes: input.bytes });
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

/** Feeds all of the input; resolves with what came after the compressed data, as far as it matters. */
async function feedInflate(inflate: InflateRaw, first: Buffer, input: CountedInput): Promise<Buffer> {
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<void>();
  inflate.once('end', onEnd).once('close', onEnd);
  // Bytes that zlib left alone, which it does once the data has ended; from then on it must be given no more.
  let rest: Buffer = Buffer.alloc(0);
  for (let chunk: Buffer | null = first; chunk; chunk = await input.next()) {
    if (rest.length > 0) rest = Buffer.concat([rest, chunk]);
    else rest = await feedChunk(inflate, chunk, ended);
    // Destroyed: whoever read the tar has refused it.
    if (rest.length >= trailerBytes + recordBytes || inflate.destroyed) break;
  }
  if (rest.length === 0) inflate.end();
  await ended;
  return rest;
}

/** Resolves with what zlib did not take of the chunk. */
async function feedChunk(inflate: InflateRaw, chunk: Buffer, ended: Promise<void>): Promise<Buffer> {
  const before = inflate.bytesWritten;
  await Promise.race([new Promise((resolve) => inflate.write(chunk, resolve)), ended]);
  return Buffer.from(chunk.subarray(inflate.bytesWritten - before));
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
}

function checkTrailer(
  rest: Buffer,
  { checksum, length, inputBytes }: { checksum: number; length: number; inputBytes: number },
): void {
  if (rest.length < trailerBytes) throw truncated();
  const padding = rest.subarray(trailerBytes);
  const fillsRecord = padding.length < recordBytes && inputBytes % recordBytes === 0;
  if (padding.length > 0 && !(fillsRecord && isZero(padding))) {
    throw new KilnError(
      'ARCHIVE_TRAILING_DATA',
      'There is more data after the end of the gzip stream; send one archive alone.',
    );
  }
  if (rest.readUInt32LE(0) !== checksum || rest.readUInt32LE(4) !== length % 2 ** 32) {
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
