import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import type { Logger } from '../lib/logger.ts';
import type { Caller } from '../model/caller.ts';
import { KilnError } from '../model/error.ts';
import { logFailure } from '../model/log-failure.ts';
import type { RequestOrigin } from '../model/request-origin.ts';
import type { CallerGuard } from './caller-guard.ts';
import { toServiceError } from './error-table.ts';
import { holdLittle } from './hold-little.ts';
import { nameCall } from './name-call.ts';
import type { OpenCalls } from './open-calls.ts';
import { createSend, type Send } from './send.ts';
import { watchCall } from './watch-call.ts';

/** What every handler needs of the server around it. */
export type HandlerContext = {
  readonly callerOf: CallerGuard['callerOf'];
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
  /** Deadline of a call that names none, in ms. */
  readonly maxCallMs: number;
  readonly calls: OpenCalls;
  /** How long a client may read nothing while there is something to read, in ms. */
  readonly readerStallMs: number;
  /** Ends the connection of a client that does not read. */
  dropConnection(peer: string): void;
};

/** Where a call's answers go. */
export type Outgoing<Answer> = {
  readonly send: Send<Answer>;
  readonly signal: AbortSignal;
  /** What the call says of itself. */
  readonly origin: RequestOrigin;
};

/** A unary method from a function that resolves with the answer or rejects. */
export function unary<Request, Answer>(
  context: HandlerContext,
  work: (caller: Caller, request: Request) => Promise<Answer>,
): handleUnaryCall<Request, Answer> {
  return (call, callback) => {
    const { requestId } = nameCall(call);
    const answer = async (): Promise<Answer> => work(context.callerOf(call), call.request);
    answer().then(
      (answer) => callback(null, answer),
      (error: unknown) =>
        callback(toServiceError(explain(context, { method: call.getPath(), requestId }, error))),
    );
  };
}

/** A method that answers with a stream, from a function that sends it. */
export function serverStreaming<Request, Answer>(
  context: HandlerContext,
  work: (caller: Caller, request: Request, outgoing: Outgoing<Answer>) => Promise<void>,
): handleServerStreamingCall<Request, Answer> {
  return (call) => void answer(context, call, (caller, outgoing) => work(caller, call.request, outgoing));
}

/** A method with streams both ways, from a function that reads the one and sends the other. */
export function bidiStreaming<Request, Answer>(
  context: HandlerContext,
  work: (
    caller: Caller,
    requests: ServerDuplexStream<Request, Answer>,
    outgoing: Outgoing<Answer>,
  ) => Promise<void>,
): handleBidiStreamingCall<Request, Answer> {
  return (call) => void answer(context, call, (caller, outgoing) => work(caller, call, outgoing));
}

async function answer<Request, Answer>(
  context: HandlerContext,
  call: ServerWritableStream<Request, Answer> | ServerDuplexStream<Request, Answer>,
  work: (caller: Caller, outgoing: Outgoing<Answer>) => Promise<void>,
): Promise<void> {
  holdLittle(call);
  using watched = watchCall(call, { maxMs: context.maxCallMs, shutdown: context.shutdown });
  const { signal } = watched;
  const origin = nameCall(call);
  const named = { method: call.getPath(), requestId: origin.requestId };
  try {
    const caller = context.callerOf(call);
    using _open = context.calls.enter();
    await work(caller, {
      send: createSend<Answer>(call, { stallMs: context.readerStallMs, signal }),
      ...{ signal, origin },
    });
    call.end();
  } catch (error) {
    const cause = explain(context, named, signal.aborted ? signal.reason : error);
    call.emit('error', toServiceError(cause));
    // The status would wait behind messages that the client does not read, so its connection is closed.
    if (cause.code === 'TRANSFER_STALLED') context.dropConnection(call.getPeer());
  }
}

/** An error as the caller gets it, once it is logged. */
function explain(
  context: HandlerContext,
  named: { method: string; requestId: string | null },
  thrown: unknown,
): KilnError {
  const error = KilnError.from(thrown);
  logFailure(context.logger, named, error);
  return error;
}
