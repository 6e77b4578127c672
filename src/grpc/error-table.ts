import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { type ErrorKind, errorKinds, type KilnError } from '../model/error.ts';
import { BadRequest, ErrorInfo, RetryInfo } from './generated/google/rpc/error_details.ts';
import { Status } from './generated/google/rpc/status.ts';

/** The one table from a kind of error to its gRPC code. */
const grpcCodes: Readonly<Record<ErrorKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  unprocessable: status.INVALID_ARGUMENT,
  'unsupported-media': status.INVALID_ARGUMENT,
  'out-of-range': status.OUT_OF_RANGE,
  'too-large': status.RESOURCE_EXHAUSTED,
  'storage-full': status.RESOURCE_EXHAUSTED,
  'request-timeout': status.DEADLINE_EXCEEDED,
  deadline: status.DEADLINE_EXCEEDED,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  'method-not-allowed': status.UNIMPLEMENTED,
  'not-found': status.NOT_FOUND,
  gone: status.NOT_FOUND,
  conflict: status.FAILED_PRECONDITION,
  cancelled: status.CANCELLED,
  unavailable: status.UNAVAILABLE,
  internal: status.INTERNAL,
};

/** The error as gRPC sends it: status and message, with google.rpc.Status in the trailer `grpc-status-details-bin`. */
export function toServiceError(error: KilnError): ServiceError {
  const code = grpcCodes[errorKinds[error.code]];
  // A lone surrogate would make grpc-js fail where it percent-encodes the message.
  const message = error.message.toWellFormed();
  const metadata = new Metadata();
  const details = Status.encode({ code, message, details: describe(error, message) }).finish();
  metadata.set('grpc-status-details-bin', Buffer.from(details));
  return Object.assign(new Error(message, { cause: error }), { code, details: message, metadata });
}

function describe({ code, details }: KilnError, description: string): Status['details'] {
  const { entry, limit, operation, field, retryAfterSeconds } = details;
  const metadata = {
    ...(entry === undefined ? {} : { entry: entry.toWellFormed() }),
    ...(limit === undefined ? {} : { limit: String(limit) }),
    ...(operation === undefined ? {} : { operation }),
  };
  const packed = [pack('ErrorInfo', ErrorInfo.encode({ reason: code, domain: 'kiln', metadata }).finish())];
  if (field !== undefined) {
    const violation = { field: protoPath(field), description };
    packed.push(pack('BadRequest', BadRequest.encode({ fieldViolations: [violation] }).finish()));
  }
  if (retryAfterSeconds !== undefined) {
    const retry = { retryDelay: { seconds: retryAfterSeconds, nanos: 0 } };
    packed.push(pack('RetryInfo', RetryInfo.encode(retry).finish()));
  }
  return packed;
}

/** Fields have the model's names (`buildArgs.A`); the protocol spells them `build_args`. What follows is the caller's. */
function protoPath(field: string): string {
  return field.replace(/^[^.]*/, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

function pack(type: string, value: Uint8Array): { typeUrl: string; value: Uint8Array } {
  return { typeUrl: `type.googleapis.com/google.rpc.${type}`, value };
}
