import { crc32, createInflateRaw } from 'node:zlib';
import { decodeStream } from './zlib-stream.ts';

export type InflateOptions = {
  /** Bytes of output at a time. */
  readonly chunkSize: number;
  /** Stops as soon as there is more output than this; the surplus is not given out. */
  readonly maxBytes: number;
};

export type Inflated = {
  readonly crc32: number;
  /** Bytes of output; more than `maxBytes` where there was more. */
  readonly length: number;
  /** What follows the compressed data in the source's last chunk that was read; nothing where there was too much output. */
  readonly rest: Buffer;
};

/**
 * Inflates raw deflate data (RFC 1951) and says where it ended.
 * @throws what zlib says of data that is damaged or cut off
 */
export async function* inflate(
  source: AsyncIterable<Buffer>,
  { chunkSize, maxBytes }: InflateOptions,
): AsyncGenerator<Buffer, Inflated> {
  const decoded = decodeStream(createInflateRaw({ chunkSize }), source);
  let checksum = 0;
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await decoded.next();
      if (done) return { crc32: checksum, length, rest: value };
      length += value.length;
      if (length > maxBytes) return { crc32: checksum, length, rest: Buffer.alloc(0) };
      checksum = crc32(value, checksum);
      yield value;
    }
  } finally {
    await decoded.return(Buffer.alloc(0));
  }
}
