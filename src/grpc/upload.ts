import type { Readable } from 'node:stream';
import { withDeadline } from '../lib/abort.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { BuildRequest, BuildStart } from './generated/kiln/v1/build_service.ts';

/** Bytes per second that an upload must reach once it is older than the stall limit. */
const minimumRate = 1024;

export type UploadLimits = {
  readonly maxBytes: number;
  /** How long the next message may take, in ms. */
  readonly stallMs: number;
};

/** What has come of all contexts. */
export type Received = { bytes: number; isWhole: boolean };

/** An archive as it arrives: the context, whose name is null, or a named one. */
export type SentArchive = { readonly name: string | null; readonly bytes: AsyncIterable<Buffer> };

export type Upload = {
  readonly start: BuildStart;
  /** None where the client half-closed at once. Each is read to its end before the next is there. */
  readonly archives: AsyncIterable<SentArchive>;
};

/**
 * Reads the opening of a Build call, its start message. The rest is read as `archives` are.
 * @throws KilnError STREAM_PROTOCOL, UPLOAD_TOO_LARGE, UPLOAD_TIMEOUT
 */
export async function openUpload(
  requests: Readable,
  { received, ...limits }: UploadLimits & { received: Received },
  signal: AbortSignal,
): Promise<Upload> {
  const messages = readMessages(requests, limits.stallMs, signal);
  const first = await messages.next();
  const part = first.done ? undefined : first.value.part;
  if (part?.$case !== 'start') {
    throw new KilnError('STREAM_PROTOCOL', "The first message of a Build call must be its 'start'.");
  }
  return { start: part.value, archives: readArchives(readChunks(messages, { received, ...limits })) };
}

type Chunk = { readonly name: string | null; readonly data: Buffer };

/** Chunks that follow one another and have one name are an archive. */
async function* readArchives(chunks: AsyncGenerator<Chunk, void>): AsyncGenerator<SentArchive, void> {
  const seen = new Set<string | null>();
  let next = await chunks.next();
  while (!next.done) {
    const { name } = next.value;
    if (seen.has(name)) throw apart(name);
    seen.add(name);
    const read = async function* (): AsyncGenerator<Buffer, void> {
      for (; !next.done && next.value.name === name; next = await chunks.next()) yield next.value.data;
    };
    yield { name, bytes: read() };
    // Of what its reader left.
    while (!next.done && next.value.name === name) next = await chunks.next();
  }
}

async function* readChunks(
  messages: AsyncIterable<BuildRequest>,
  { received, maxBytes, stallMs }: UploadLimits & { received: Received },
): AsyncGenerator<Chunk, void> {
  const started = performance.now();
  for await (const { part } of messages) {
    const chunk = toChunk(part);
    received.bytes += chunk.data.length;
    if (received.bytes > maxBytes) throw tooLarge(maxBytes);
    const age = performance.now() - started;
    if (age > stallMs && received.bytes < (age / 1000) * minimumRate) throw tooSlow();
    yield chunk;
  }
  received.isWhole = true;
}

function toChunk(part: BuildRequest['part']): Chunk {
  if (part?.$case === 'context') return { name: null, data: toBuffer(part.value) };
  if (part?.$case === 'namedContext') return { name: part.value.name, data: toBuffer(part.value.data) };
  throw new KilnError(
    'STREAM_PROTOCOL',
    "After 'start' every message of a Build call must hold bytes of the 'context' or of a 'named_context'.",
  );
}

function toBuffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

async function* readMessages(
  requests: Readable,
  stallMs: number,
  signal: AbortSignal,
): AsyncGenerator<BuildRequest, void> {
  // Leaving the iteration must not destroy the stream: the answer goes out on it.
  const messages: AsyncIterator<BuildRequest> = requests.iterator({ destroyOnReturn: false });
  for (;;) {
    const next = await withDeadline({ ms: stallMs, signal, reason: tooSlow }, () => messages.next());
    if (next.done) return;
    yield next.value;
  }
}

function apart(name: string | null): KilnError {
  const what = name === null ? 'the context' : `the context '${printable(name, 100)}'`;
  return new KilnError(
    'STREAM_PROTOCOL',
    `All bytes of ${what} must come together, before those of another.`,
  );
}

function tooLarge(limit: number): KilnError {
  return new KilnError(
    'UPLOAD_TOO_LARGE',
    `The upload is larger than ${limit} bytes; leave out what the build does not need.`,
    { details: { limit } },
  );
}

function tooSlow(): KilnError {
  return new KilnError('UPLOAD_TIMEOUT', 'The upload stalled; send it again over a faster connection.');
}
