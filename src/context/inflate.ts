import { crc32, createInflateRaw, type InflateRaw } from 'node:zlib';

export type InflateOptions = {
  /** Bytes of output at a time. */
  readonly chunkSize: number;
  /** Stops as soon as there is more output than this; the surplus is not given out. */
  readonly maxBytes: number;
  /** How much of what follows the compressed data is read. */
  readonly maxRestBytes: number;
};

export type Inflated = {
  readonly crc32: number;
  /** Bytes of output; more than `maxBytes` where there was more. */
  readonly length: number;
  /** What follows the compressed data; of a long rest only the beginning. */
  readonly rest: Buffer;
};

/**
 * Inflates raw deflate data (RFC 1951) and says where it ended: node:zlib ignores what follows, which other readers do not.
 * @throws what zlib says of data that is damaged or cut off
 */
export async function* inflate(
  source: AsyncIterable<Buffer>,
  { chunkSize, maxBytes, maxRestBytes }: InflateOptions,
): AsyncGenerator<Buffer, Inflated> {
  const stream = createInflateRaw({ chunkSize });
  const feed = feedInflate(stream, source, maxRestBytes);
  feed.catch((error: unknown) => stream.destroy(error instanceof Error ? error : new Error(String(error))));
  let checksum = 0;
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > maxBytes) break;
      checksum = crc32(chunk, checksum);
      yield chunk;
    }
  } finally {
    // Not `await using`: that fails for a stream whose input was not ended.
    stream.destroy();
  }
  return { crc32: checksum, length, rest: await feed };
}

/** Feeds all of the source; resolves with what follows the compressed data. */
async function feedInflate(
  stream: InflateRaw,
  source: AsyncIterable<Buffer>,
  maxRestBytes: number,
): Promise<Buffer> {
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<void>();
  stream.once('end', onEnd).once('close', onEnd);
  // Bytes that zlib left alone, which it does once the data has ended; from then on it must be given no more.
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    if (rest.length > 0) rest = Buffer.concat([rest, chunk]);
    else rest = await feedChunk(stream, chunk, ended);
    // Destroyed: whoever reads the output has refused it.
    if (rest.length >= maxRestBytes || stream.destroyed) break;
  }
  if (rest.length === 0) stream.end();
  await ended;
  return rest;
}

/** Resolves with what zlib did not take of the chunk. */
async function feedChunk(stream: InflateRaw, chunk: Buffer, ended: Promise<void>): Promise<Buffer> {
  const before = stream.bytesWritten;
  await Promise.race([new Promise((resolve) => stream.write(chunk, resolve)), ended]);
  return Buffer.from(chunk.subarray(stream.bytesWritten - before));
}
