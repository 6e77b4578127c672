import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import { logFailure } from '../model/log-failure.ts';
import { toServiceError } from './error-table.ts';
import { startOperation } from './operation.ts';
import { createSend, type Send } from './send.ts';

/** What every handler needs of the server around it. */
export type HandlerContext = {
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
  /** Deadline of a call that names none, in ms. */
  readonly maxCallMs: number;
  /** How long a client may read nothing while there is something to read, in ms. */
  readonly readerStallMs: number;
  /** Ends the connection of a client that does not read. */
  dropConnection(peer: string): void;
};

/** A unary method from a function that resolves with the answer or rejects. */
export function unary<Request, Answer>(
  context: HandlerContext,
  work: (request: Request) => Promise<Answer>,
): handleUnaryCall<Request, Answer> {
  return (call, callback) => {
    work(call.request).then(
      (answer) => callback(null, answer),
      (error: unknown) => callback(toServiceError(explain(context, call.getPath(), error))),
    );
  };
}

/** A method that answers with a stream, from a function that sends it. */
export function serverStreaming<Request, Answer>(
  context: HandlerContext,
  work: (request: Request, send: Send<Answer>, signal: AbortSignal) => Promise<void>,
): handleServerStreamingCall<Request, Answer> {
  return (call) => void answer(context, call, (send, signal) => work(call.request, send, signal));
}

/** A method with streams both ways, from a function that reads the one and sends the other. */
export function bidiStreaming<Request, Answer>(
  context: HandlerContext,
  work: (
    requests: ServerDuplexStream<Request, Answer>,
    send: Send<Answer>,
    signal: AbortSignal,
  ) => Promise<void>,
): handleBidiStreamingCall<Request, Answer> {
  return (call) => void answer(context, call, (send, signal) => work(call, send, signal));
}

async function answer<Request, Answer>(
  context: HandlerContext,
  call: ServerWritableStream<Request, Answer> | ServerDuplexStream<Request, Answer>,
  work: (send: Send<Answer>, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  using operation = startOperation(call, { maxMs: context.maxCallMs, shutdown: context.shutdown });
  const { signal } = operation;
  try {
    await work(createSend<Answer>(call, { stallMs: context.readerStallMs, signal }), signal);
    call.end();
  } catch (error) {
    const cause = explain(context, call.getPath(), signal.aborted ? signal.reason : error);
    call.emit('error', toServiceError(cause));
    // The status would wait behind messages that the client does not read, so its connection is closed.
    if (cause.code === 'TRANSFER_STALLED') context.dropConnection(call.getPeer());
  }
}

/** An error as the caller gets it, once it is logged. */
function explain(context: HandlerContext, method: string, thrown: unknown): KilnError {
  const error = KilnError.from(thrown);
  logFailure(context.logger, { method }, error);
  return error;
}
