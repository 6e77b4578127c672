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
  limits: UploadLimits,
  signal: AbortSignal,
): Promise<Upload> {
  const messages = readMessages(requests, limits.stallMs, signal);
  const first = await messages.next();
  const part = first.done ? undefined : first.value.part;
  if (part?.$case !== 'start') {
    throw new KilnError('STREAM_PROTOCOL', "The first message of a Build call must be its 'start'.");
  }
  const second = await messages.next();
  return { start: part.value, context: second.done ? null : readContext(second.value, messages, limits) };
}

async function* readContext(
  first: BuildRequest,
  rest: AsyncIterable<BuildRequest>,
  limits: UploadLimits,
): AsyncGenerator<Buffer> {
  const started = performance.now();
  let bytes = 0;
  const take = ({ part }: BuildRequest): Buffer => {
    if (part?.$case !== 'context') {
      throw new KilnError(
        'STREAM_PROTOCOL',
        "After 'start' every message of a Build call must hold bytes of the 'context'.",
      );
    }
    bytes += part.value.length;
    if (bytes > limits.maxBytes) throw tooLarge(limits.maxBytes);
    const age = performance.now() - started;
    if (age > limits.stallMs && bytes < (age / 1000) * minimumRate) throw tooSlow();
    return Buffer.from(part.value.buffer, part.value.byteOffset, part.value.length);
  };
  yield take(first);
  for await (const message of rest) yield take(message);
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
