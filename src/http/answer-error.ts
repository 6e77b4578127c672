import { once } from 'node:events';
import type { ErrorRequestHandler, Request, Response } from 'express';
import type { Logger } from '../lib/logger.ts';
import { KilnError } from '../model/error.ts';
import { logFailure } from '../model/log-failure.ts';
import { cutOff } from './answer/cut-off.ts';
import { toProblem } from './error-table.ts';

/**
 * How long the rest of a refused upload is read and dropped, in ms. A connection closed at once is reset, and a client that sends
 * everything before it reads would never see the answer.
 */
const lingerMs = 5000;

/** The one place where a failed request is logged and answered; a stream that broke off is cut. */
export function answerErrors(logger: Logger, stallMs: number): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = fromExpress(thrown);
    const requestId = String(response.getHeader('X-Request-Id'));
    const { status, code } = toProblem(error, requestId);
    logFailure(logger, { requestId, method: request.method, path: request.path, status }, error);
    if (code === 'CLIENT_GONE' || request.socket.destroyed) response.destroy();
    else if (response.headersSent) void cutOff(response, stallMs);
    else sendProblem(request, response, error);
  };
}

function sendProblem(request: Request, response: Response, error: KilnError): void {
  const problem = toProblem(error, String(response.getHeader('X-Request-Id')));
  const body = request.method === 'HEAD' ? '' : JSON.stringify(problem);
  const { retryAfterSeconds } = error.details;
  if (retryAfterSeconds !== undefined) response.set('Retry-After', String(retryAfterSeconds));
  if (problem.status === 401) response.set('WWW-Authenticate', challenge(error));
  response.status(problem.status).type('application/problem+json');
  if (request.complete) response.end(body);
  else void sendBeforeEnd(request, response, body);
}

/** RFC 6750, section 3: a request without a token is told no error. */
function challenge({ code }: KilnError): string {
  return `Bearer realm="kiln"${code === 'TOKEN_INVALID' ? ', error="invalid_token"' : ''}`;
}

/** Answers a request whose body is still on its way: the whole answer first, the end of the connection a little later. */
async function sendBeforeEnd(request: Request, response: Response, body: string): Promise<void> {
  response.set({ Connection: 'close', 'Content-Length': String(Buffer.byteLength(body)) }).write(body);
  request.resume();
  const waited = AbortSignal.timeout(lingerMs);
  await once(request, 'close', { signal: waited }).catch(() => undefined);
  response.end();
}

/** Translates the errors of Express and of its file sender; any thrown value becomes a KilnError. */
function fromExpress(error: unknown): KilnError {
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (status === 400 || status === 404) return notFound();
  if (status === 416)
    return new KilnError('OUT_OF_RANGE', 'The range asked for is beyond the end of the file.');
  if (status === 412) return new KilnError('REQUEST_INVALID', 'The file is not the one in If-Match.');
  return KilnError.from(error);
}

export function notFound(): KilnError {
  return new KilnError('NOT_FOUND', 'There is nothing at this address; /docs lists what there is.');
}
