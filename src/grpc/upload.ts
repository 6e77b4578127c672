import type { Readable } from 'node:stream';
import { withDeadline } from '../lib/abort.ts';
import { KilnError } from '../model/error.ts';
import type { BuildRequest, BuildStart } from './generated/kiln/v1/build_service.ts';

/** Bytes per second that an upload must reach once it is older than the stall limit. */
const minimumRate = 1024;

export type UploadLimits = {
  readonly maxBytes: number;
  /** How long the next message may take, in ms. */
  readonly stallMs: number;
};

/** What has come of the context. */
export type Received = { bytes: number; isWhole: boolean };

export type Upload = {
  readonly start: BuildStart;
  /** The bytes of the context; null when the client half-closed without sending any message of it. */
  readonly context: AsyncIterable<Buffer> | null;
};

/**
 * Reads the opening of a Build call: its start message and whether a context follows. The rest is read as
 * `context` is.
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
  const second = await messages.next();
  if (second.done) received.isWhole = true;
  return {
    start: part.value,
    context: second.done ? null : readContext(second.value, messages, { received, ...limits }),
  };
}

async function* readContext(
  first: BuildRequest,
  rest: AsyncIterable<BuildRequest>,
  { received, maxBytes, stallMs }: UploadLimits & { received: Received },
): AsyncGenerator<Buffer> {
  const started = performance.now();
  const take = ({ part }: BuildRequest): Buffer => {
    if (part?.$case !== 'context') {
      throw new KilnError(
        'STREAM_PROTOCOL',
        "After 'start' every message of a Build call must hold bytes of the 'context'.",
      );
    }
    received.bytes += part.value.length;
    if (received.bytes > maxBytes) throw tooLarge(maxBytes);
    const age = performance.now() - started;
    if (age > stallMs && received.bytes < (age / 1000) * minimumRate) throw tooSlow();
    return Buffer.from(part.value.buffer, part.value.byteOffset, part.value.length);
  };
  yield take(first);
  for await (const message of rest) yield take(message);
  received.isWhole = true;
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
