import { randomUUID } from 'node:crypto';
import { type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { KilnError } from '../model/error.ts';
import { toProblem } from './error-table.ts';

/** How long a client has to take the answer before its connection is destroyed, in ms. */
const lingerMs = 1000;

/** Answers what is no HTTP, has too large headers or comes too slowly, and closes the connection. */
export function answerClientErrors(server: Server): void {
  const answers = new WeakMap<Duplex, ServerResponse>();
  const remember: RequestListener = (request, response) => void answers.set(request.socket, response);
  server.on('request', remember).on('checkContinue', remember);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const answer = answers.get(socket);
    const inAnswer = answer?.headersSent === true && !answer.writableEnded;
    // What was written before goes out first, so not at once: the end of the connection cuts off an answer that goes on.
    if (socket.writable) socket.end(inAnswer ? undefined : encode(error));
    setTimeout(() => socket.destroy(), lingerMs).unref();
  });
}

function encode(error: NodeJS.ErrnoException): string {
  const { status, problem } = explain(error);
  const body = JSON.stringify({ ...problem, status, title: STATUS_CODES[status] });
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

function explain({ code }: NodeJS.ErrnoException): { status: number; problem: object } {
  const problem = (kiln: 'REQUEST_INVALID' | 'UPLOAD_TIMEOUT', message: string): object =>
    toProblem(new KilnError(kiln, message), randomUUID());
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return { status: 408, problem: problem('UPLOAD_TIMEOUT', 'The request did not arrive in time.') };
  if (code === 'HPE_HEADER_OVERFLOW')
    return {
      status: 431,
      problem: problem('REQUEST_INVALID', 'The headers are larger than 16 KiB, or too many.'),
    };
  if (code === 'HPE_INVALID_EOF_STATE')
    return {
      status: 400,
      problem: problem('REQUEST_INVALID', 'The request ended before all of it was sent.'),
    };
  return { status: 400, problem: problem('REQUEST_INVALID', 'The request is not valid HTTP/1.1.') };
}
