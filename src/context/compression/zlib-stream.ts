import type { InflateRaw, ZstdDecompress } from 'node:zlib';

/**
 * What a stream of node:zlib makes of a source, and what it did not take of the source's last chunk: it stops at the end of
 * its data and says nothing of what follows, which matters here. The stream is destroyed.
 * @throws what zlib says of data that is damaged or cut off
 */
export async function* decodeStream(
  stream: InflateRaw | ZstdDecompress,
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, Buffer> {
  const fed = feed(stream, source);
  fed.catch((error: unknown) => stream.destroy(error instanceof Error ? error : new Error(String(error))));
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
  } finally {
    // Not `await using`: that fails for a stream whose input was not ended.
    stream.destroy();
  }
  return fed;
}

/** Feeds the source up to where the data ends; resolves with what follows in the same chunk. */
async function feed(stream: InflateRaw | ZstdDecompress, source: AsyncIterable<Buffer>): Promise<Buffer> {
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<void>();
  stream.once('end', onEnd).once('close', onEnd);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = await feedChunk(stream, chunk);
    // Bytes that zlib left alone, which it does once the data has ended. Destroyed: whoever reads the output has refused it.
    if (rest.length > 0 || stream.destroyed) break;
  }
  if (rest.length === 0) stream.end();
  await ended;
  return rest;
}

/** Resolves with what zlib did not take of the chunk. */
async function feedChunk(stream: InflateRaw | ZstdDecompress, chunk: Buffer): Promise<Buffer> {
  const before = stream.bytesWritten;
  await write(stream, chunk);
  return chunk.subarray(stream.bytesWritten - before);
}

/**
 * Resolves when zlib is done with the chunk, or with all that it will ever take. Not as a race with one promise for the end of
 * the stream: that would hold something of every chunk until the end.
 */
function write(stream: InflateRaw | ZstdDecompress, chunk: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('end', done).off('close', done);
      resolve();
    };
    if (stream.readableEnded || stream.destroyed) {
      resolve();
      return;
    }
    stream.once('end', done).once('close', done);
    stream.write(chunk, done);
  });
}
