import { constants, createZstdDecompress } from 'node:zlib';
import { KilnError } from '../../model/error.ts';
import { type Compression, corruptStream, truncatedStream } from './members.ts';
import { decodeStream } from './zlib-stream.ts';

const name = 'zstd';
const frameMagic = Buffer.from('28b52ffd', 'hex');
/** Of frames that hold no data but what some tool notes for itself; the first byte is 0x50 to 0x5f. */
const skippableMagic = Buffer.from('2a4d18', 'hex');
const chunkSize = 256 * 1024;

/** How far back the data may refer, and so what unpacking it takes of memory; as much as the zstd program takes unasked. */
const maxWindowLog = 27;
const maxWindowMiB = 2 ** (maxWindowLog - 20);

/** Frames of zstd (RFC 8878). */
export const zstd: Compression = {
  name,
  magicBytes: frameMagic.length,
  begins: (bytes) =>
    bytes.equals(frameMagic) || ((bytes[0] ?? 0) >> 4 === 5 && bytes.subarray(1).equals(skippableMagic)),

  /** @throws ARCHIVE_CORRUPT, ARCHIVE_TRUNCATED, ARCHIVE_UNSUPPORTED */
  async *decode(input) {
    let last: Buffer = Buffer.alloc(0);
    async function* watched(): AsyncGenerator<Buffer> {
      for await (const chunk of input.rest()) {
        last = chunk;
        yield chunk;
      }
    }
    const stream = createZstdDecompress({
      chunkSize,
      params: { [constants.ZSTD_d_windowLogMax]: maxWindowLog },
    });
    try {
      input.unread(yield* decodeStream(stream, watched()));
    } catch (error) {
      // Where a frame ended with a chunk, zstd was given the next one, which is none.
      if (codeOf(error) === 'ZSTD_error_prefix_unknown') input.unread(last);
      else throw zstdError(error);
    }
  },
};

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && !(error instanceof KilnError) ? String(error.code) : '';
}

function zstdError(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'Z_BUF_ERROR') return truncatedStream(name, error);
  if (code === 'ZSTD_error_frameParameter_windowTooLarge') {
    const message = `The zstd stream asks for more than ${maxWindowMiB} MiB of memory; compress with --long=${maxWindowLog} at most.`;
    return new KilnError('ARCHIVE_UNSUPPORTED', message, { cause: error });
  }
  return /^Z(?:STD)?_/.test(code) ? corruptStream(name, 'has compressed data that is damaged', error) : error;
}
