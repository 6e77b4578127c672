import { STATUS_CODES } from 'node:http';
import type { Response } from 'express';
import { type ErrorKind, errorKinds, KilnError } from '../model/error.ts';

/** The one place where an error becomes an HTTP status. */
export const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unprocessable: 422,
  'too-large': 413,
  'unsupported-media': 415,
  'out-of-range': 416,
  'request-timeout': 408,
  forbidden: 403,
  'method-not-allowed': 405,
  'not-found': 404,
  conflict: 409,
  gone: 410,
  cancelled: 499,
  unavailable: 503,
  'storage-full': 507,
  deadline: 504,
  internal: 500,
};

export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly entry?: string;
  readonly limit?: number;
  readonly requestId: string;
};

/** RFC 9457. Of an error that is not ours nothing but "internal error" is said. */
export function toProblem(error: unknown, requestId: string): Problem {
  const { code, message, details } = KilnError.from(error);
  const status = statusOfKind[errorKinds[code]];
  return {
    type: `/docs/errors#${code}`,
    title: STATUS_CODES[status] ?? 'Client Closed Request',
    status,
    code,
    detail: message,
    ...(details.entry !== undefined && { entry: details.entry }),
    ...(details.limit !== undefined && { limit: details.limit }),
    requestId,
  };
}

export function sendProblem(response: Response, error: unknown, requestId: string): void {
  const problem = toProblem(error, requestId);
  const { retryAfterSeconds } = KilnError.from(error).details;
  if (retryAfterSeconds !== undefined) response.set('Retry-After', String(retryAfterSeconds));
  // The rest of a refused body is not waited for.
  if (!response.req.complete) response.set('Connection', 'close');
  response.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}
