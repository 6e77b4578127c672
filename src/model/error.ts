/**
 * The one error type of kiln. Each edge has one table from `code` to its wire form; nothing else decides
 * what a caller is told.
 */

/** Every code a caller can see, with the class the edges translate: HTTP status and gRPC code follow from it. */
export const errorKinds = {
  // The archive (reference: docs/errors.md)
  ENTRY_ESCAPES: 'unprocessable',
  ENTRY_ABSOLUTE: 'unprocessable',
  ENTRY_THROUGH_LINK: 'unprocessable',
  HARDLINK_TARGET: 'unprocessable',
  ENTRY_TYPE: 'unprocessable',
  ENTRY_DUPLICATE: 'unprocessable',
  ENTRY_CONFLICT: 'unprocessable',
  ENTRY_NAME_TOO_LONG: 'unprocessable',
  ENTRY_TOO_DEEP: 'unprocessable',
  ENTRY_NAME: 'unprocessable',
  ENTRY_NAME_ENCODING: 'unprocessable',
  ENTRY_SPARSE: 'unprocessable',
  ARCHIVE_CORRUPT: 'unprocessable',
  ARCHIVE_AMBIGUOUS: 'unprocessable',
  ARCHIVE_HEADER_TOO_LARGE: 'unprocessable',
  ARCHIVE_TRUNCATED: 'unprocessable',
  ARCHIVE_TRAILING_DATA: 'unprocessable',
  ARCHIVE_UNSUPPORTED: 'unprocessable',
  ARCHIVE_EMPTY: 'unprocessable',
  ARCHIVE_TOO_LARGE: 'too-large',
  ARCHIVE_TOO_MANY_ENTRIES: 'too-large',
  ARCHIVE_FORMAT: 'unsupported-media',
  DOCKERFILE_MISSING: 'unprocessable',
  DOCKERFILE_INVALID: 'unprocessable',
  DOCKERIGNORE_INVALID: 'unprocessable',
  FRONTEND_NOT_ALLOWED: 'unprocessable',
  OCI_LAYOUT_INVALID: 'unprocessable',
  // The request
  CONTENT_TYPE: 'unsupported-media',
  CONTENT_ENCODING: 'unsupported-media',
  FILE_MISSING: 'invalid',
  MULTIPART_INVALID: 'invalid',
  MULTIPART_FIELD: 'invalid',
  BODY_INVALID: 'invalid',
  REQUEST_INVALID: 'invalid',
  OFFSET_INVALID: 'invalid',
  OUT_OF_RANGE: 'out-of-range',
  STREAM_PROTOCOL: 'invalid',
  PARAM_INVALID: 'unprocessable',
  REF_INVALID: 'unprocessable',
  PLATFORM_UNSUPPORTED: 'unprocessable',
  REGISTRY_FORBIDDEN: 'unprocessable',
  SECRET_INVALID: 'unprocessable',
  UPLOAD_TOO_LARGE: 'too-large',
  UPLOAD_TIMEOUT: 'request-timeout',
  TOKEN_MISSING: 'unauthenticated',
  TOKEN_INVALID: 'unauthenticated',
  TLS_REQUIRED: 'forbidden',
  ROLE_TOO_LOW: 'forbidden',
  HOST_NOT_ALLOWED: 'forbidden',
  ORIGIN_NOT_ALLOWED: 'forbidden',
  METHOD_NOT_ALLOWED: 'method-not-allowed',
  NOT_FOUND: 'not-found',
  BUILDKIT_UNKNOWN: 'not-found',
  BUILDKIT_NOT_MADE: 'conflict',
  BUILD_TERMINAL: 'conflict',
  REBUILD_RUNNING: 'conflict',
  VERSION_EXISTS: 'conflict',
  NO_PREVIOUS_IMAGE: 'conflict',
  OPERATION_ENDED: 'conflict',
  CANARY_FAILED: 'unprocessable',
  REGISTRY_UNAVAILABLE: 'unavailable',
  REGISTRY_AUTH: 'internal',
  REGISTRY_REFUSED: 'internal',
  DIGEST_MISMATCH: 'internal',
  EVIDENCE_INVALID: 'unprocessable',
  NOT_READY: 'conflict',
  GONE: 'gone',
  CLIENT_GONE: 'cancelled',
  CANCELLED: 'cancelled',
  // The service
  NO_CAPACITY: 'unavailable',
  DRAINING: 'unavailable',
  IDEMPOTENCY_KEY_REUSED: 'unprocessable',
  STORAGE_FULL: 'storage-full',
  VIRTUALIZATION_UNAVAILABLE: 'unavailable',
  IMAGE_CORRUPT: 'unavailable',
  CONFIG_INVALID: 'internal',
  REQUIREMENT_MISSING: 'internal',
  // The build and its VM
  TIMEOUT: 'deadline',
  INFRA: 'internal',
  TRANSFER_STALLED: 'request-timeout',
  ARTIFACT_INVALID: 'internal',
  SECRETS_LOST: 'conflict',
  LOG_TOO_LARGE: 'too-large',
  DISK_FULL: 'storage-full',
  INTERNAL: 'internal',
} as const;

export type ErrorCode = keyof typeof errorKinds;
export type ErrorKind = (typeof errorKinds)[ErrorCode];

/** What an error may add for the caller: the archive entry it is about, the limit it broke, when to retry. */
export type ErrorDetails = {
  /** Archive entry, already made safe to print (`printable` in lib/text.ts). */
  readonly entry?: string;
  readonly limit?: number;
  /** Field of the spec it is about, such as `buildArgs.A`; what follows the first dot is the caller's, safe to print. */
  readonly field?: string;
  readonly retryAfterSeconds?: number;
  /** Id of the operation it is about. */
  readonly operation?: string;
};

export class KilnError extends Error {
  override readonly name = 'KilnError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param message One sentence for the caller: what was wrong, the limit, what to change. */
  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  /** Total: any thrown value becomes a KilnError; one that is not ours becomes INTERNAL and keeps its cause. */
  static from(error: unknown): KilnError {
    if (error instanceof KilnError) return error;
    if (isDiskFull(error)) {
      return new KilnError('STORAGE_FULL', 'The disk of the build service is full; try again later.', {
        cause: error,
      });
    }
    return new KilnError('INTERNAL', 'internal error', { cause: error });
  }
}

/** Kinds that an operator should hear of: something of ours failed, and not what a caller sent, asked for or let go. */
const ourKinds: readonly ErrorKind[] = ['internal', 'storage-full'];
/** Of other kinds, but ours too. */
const ourCodes: readonly ErrorCode[] = ['VIRTUALIZATION_UNAVAILABLE', 'IMAGE_CORRUPT'];
/** What they say is all there is to know, and for the operator to mend. */
const operatorsCodes: readonly ErrorCode[] = ['CONFIG_INVALID', 'REQUIREMENT_MISSING', 'REGISTRY_AUTH'];

/** Whether the cause of an error belongs into the service's log. */
export function isOurs(code: ErrorCode): boolean {
  return (ourKinds.includes(errorKinds[code]) && !operatorsCodes.includes(code)) || ourCodes.includes(code);
}

function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
