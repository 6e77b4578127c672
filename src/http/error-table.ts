import { STATUS_CODES } from 'node:http';
import { type ErrorKind, errorKinds, KilnError } from '../model/error.ts';

/** The one place where an error becomes an HTTP status. */
export const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unprocessable: 422,
  'too-large': 413,
  'unsupported-media': 415,
  'out-of-range': 416,
  'request-timeout': 408,
  unauthenticated: 401,
  forbidden: 403,
  'method-not-allowed': 405,
  'not-found': 404,
  conflict: 409,
  gone: 410,
  // Seen in our log alone: the client that it is about has gone.
  cancelled: 499,
  unavailable: 503,
  'storage-full': 507,
  deadline: 504,
  internal: 500,
};

/** The body of a refusal: RFC 9457, with kiln's own code. */
export type Problem = {
  /** Where the code is explained, relative to the service. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly entry?: string;
  readonly field?: string;
  readonly limit?: number;
  readonly operation?: string;
  readonly requestId: string;
};

/** An error that is not ours says nothing but "internal error". */
export function toProblem(error: unknown, requestId: string): Problem {
  const { code, message, details } = KilnError.from(error);
  const status = statusOfKind[errorKinds[code]];
  const { entry, field, limit, operation } = details;
  return {
    type: `/docs/errors#${code}`,
    title: STATUS_CODES[status] ?? 'Client Closed Request',
    status,
    code,
    detail: message,
    ...(entry !== undefined && { entry }),
    ...(field !== undefined && { field }),
    ...(limit !== undefined && { limit }),
    ...(operation !== undefined && { operation }),
    requestId,
  };
}
