import assert from 'node:assert/strict';
import { test } from 'node:test';
import { archive, assertProblem, serve } from './harness.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('a build has the id and the trace of its request, and so have the lines of the log (simulated builds)', async () => {
  await using harness = await serve();
  const answer = await harness.api
    .post('/build')
    .set({ 'Content-Type': 'application/x-tar', 'X-Request-Id': 'ci-4711', traceparent })
    .send(archive);
  assert.equal(answer.headers['x-request-id'], 'ci-4711');
  const [started] = harness.builds.started;
  assert.deepEqual(started?.origin, { requestId: 'ci-4711', traceparent });
  assert.deepEqual(
    harness.logged.map(({ requestId, message }) => [requestId, message]),
    [['ci-4711', 'build accepted']],
  );
});

test('an id that is none is replaced, and said with a refusal, in its log, too (simulated builds)', async () => {
  await using harness = await serve();
  const answer = await harness.api.get('/v1/builds/none').set('X-Request-Id', 'a b');
  const { requestId } = assertProblem(answer, 404, 'NOT_FOUND');
  assert.match(requestId, /^[0-9a-f-]{36}$/);
  assert.equal(answer.headers['x-request-id'], requestId);
  assert.equal(harness.logged[0]?.['requestId'], requestId);
});
