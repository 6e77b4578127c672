/** Smaller chunks are joined, so that each write is worth its system call. */
const minBytes = 32 * 1024;
/** Larger ones are cut, so that checking and hashing one does not hold up the event loop. */
const maxBytes = 256 * 1024;

/** The same bytes in chunks of a size that is good to work with, whatever sizes they come in. */
export async function* rechunk(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  for await (const chunk of source) {
    waiting.push(chunk);
    waitingBytes += chunk.length;
    if (waitingBytes < minBytes) continue;
    yield* cut(join(waiting));
    waiting = [];
    waitingBytes = 0;
  }
  if (waitingBytes > 0) yield join(waiting);
}

function join(chunks: readonly Buffer[]): Buffer {
  const [only] = chunks;
  return only && chunks.length === 1 ? only : Buffer.concat(chunks);
}

function* cut(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += maxBytes) yield bytes.subarray(start, start + maxBytes);
}
