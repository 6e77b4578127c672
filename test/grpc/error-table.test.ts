import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { toServiceError } from '../../src/grpc/error-table.ts';
import { BadRequest, ErrorInfo, RetryInfo } from '../../src/grpc/generated/google/rpc/error_details.ts';
import { Status } from '../../src/grpc/generated/google/rpc/status.ts';
import { type ErrorCode, KilnError } from '../../src/model/error.ts';

const codes: readonly [ErrorCode, status][] = [
  ['ENTRY_ESCAPES', status.INVALID_ARGUMENT],
  ['ARCHIVE_TOO_LARGE', status.RESOURCE_EXHAUSTED],
  ['ARCHIVE_FORMAT', status.INVALID_ARGUMENT],
  ['STREAM_PROTOCOL', status.INVALID_ARGUMENT],
  ['OUT_OF_RANGE', status.OUT_OF_RANGE],
  ['UPLOAD_TOO_LARGE', status.RESOURCE_EXHAUSTED],
  ['UPLOAD_TIMEOUT', status.DEADLINE_EXCEEDED],
  ['HOST_NOT_ALLOWED', status.PERMISSION_DENIED],
  ['NOT_FOUND', status.NOT_FOUND],
  ['BUILDKIT_UNKNOWN', status.NOT_FOUND],
  ['BUILDKIT_NOT_MADE', status.FAILED_PRECONDITION],
  ['GONE', status.NOT_FOUND],
  ['BUILD_TERMINAL', status.FAILED_PRECONDITION],
  ['CANCELLED', status.CANCELLED],
  ['NO_CAPACITY', status.UNAVAILABLE],
  ['STORAGE_FULL', status.RESOURCE_EXHAUSTED],
  ['TIMEOUT', status.DEADLINE_EXCEEDED],
  ['TRANSFER_STALLED', status.DEADLINE_EXCEEDED],
  ['INTERNAL', status.INTERNAL],
];

for (const [code, expected] of codes) {
  test(`${code} is ${status[expected]}`, () => {
    assert.equal(toServiceError(new KilnError(code, 'why')).code, expected);
  });
}

test('the details name code, entry, limit, field and when to retry', () => {
  const error = toServiceError(
    new KilnError('PARAM_INVALID', 'why', {
      details: { entry: 'a/b', limit: 7, field: 'buildArgs.someName', retryAfterSeconds: 5 },
    }),
  );

  const [packed] = error.metadata.get('grpc-status-details-bin');
  assert.ok(Buffer.isBuffer(packed));
  const { code, message, details } = Status.decode(packed);
  assert.deepEqual({ code, message }, { code: status.INVALID_ARGUMENT, message: 'why' });
  const [info, badRequest, retry] = details;
  assert.ok(info && badRequest && retry);
  assert.deepEqual(ErrorInfo.decode(info.value), {
    reason: 'PARAM_INVALID',
    domain: 'kiln',
    metadata: { entry: 'a/b', limit: '7' },
  });
  assert.deepEqual(BadRequest.decode(badRequest.value).fieldViolations, [
    { field: 'build_args.someName', description: 'why' },
  ]);
  assert.deepEqual(RetryInfo.decode(retry.value).retryDelay, { seconds: 5, nanos: 0 });
});

test('a message with half a surrogate pair can be sent', () => {
  assert.doesNotThrow(() => encodeURI(toServiceError(new KilnError('ENTRY_NAME', 'a\ud800b')).details));
});
