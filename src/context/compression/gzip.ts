import { KilnError } from '../../model/error.ts';
import type { CompressedInput } from './compressed-input.ts';
import { inflate } from './inflate.ts';
import { type Compression, corruptStream, truncatedStream } from './members.ts';

const name = 'gzip';
export const gzipMagic = Buffer.from([0x1f, 0x8b]);
const chunkSize = 256 * 1024;
const trailerBytes = 8;
const maxHeaderBytes = 64 * 1024;

/**
 * Members of gzip (RFC 1952), as bgzip, estargz and `cat a.gz b.gz` make several. node:zlib's own Gunzip joins them too, and ignores what
 * follows them, which other readers do not; so the frame is read here and zlib inflates.
 */
export const gzip: Compression = {
  name,
  magicBytes: gzipMagic.length,
  begins: (bytes) => bytes.equals(gzipMagic),

  /** @throws ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED */
  async *decode(input) {
    await passHeader(input);
    try {
      const { crc32, length, rest } = yield* inflate(input.rest(), {
        chunkSize,
        maxBytes: Number.POSITIVE_INFINITY,
      });
      input.unread(rest);
      const trailer = await input.take(trailerBytes);
      if (trailer.length < trailerBytes) throw truncatedStream(name);
      if (trailer.readUInt32LE(0) !== crc32 || trailer.readUInt32LE(4) !== length % 2 ** 32)
        throw corruptStream(name, 'does not match its own checksum');
    } catch (error) {
      throw zlibError(error);
    }
  },
};

/** Reads up to the compressed data. */
async function passHeader(input: CompressedInput): Promise<void> {
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const end = headerEnd(bytes);
    if (end !== null) {
      input.unread(bytes.subarray(end));
      return;
    }
    if (bytes.length > maxHeaderBytes) throw corruptStream(name, 'has a header that is too long');
    const chunk = await input.next();
    if (!chunk) throw truncatedStream(name);
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
  }
}

/** Offset of the first compressed byte; null when more bytes are needed. */
function headerEnd(bytes: Buffer): number | null {
  if (bytes.length < 10) return null;
  const flags = bytes[3] ?? 0;
  if (bytes[2] !== 8 || (flags & 0xe0) !== 0) throw corruptStream(name, 'uses an unknown compression');
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

function zlibError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof KilnError) return error;
  if (error.code === 'Z_BUF_ERROR') return truncatedStream(name, error);
  return String(error.code).startsWith('Z_')
    ? corruptStream(name, 'has compressed data that is damaged', error)
    : error;
}
