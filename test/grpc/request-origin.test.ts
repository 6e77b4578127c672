import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { KilnError } from '../../src/model/error.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { build, serve, start } from './harness.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('a build has the id and the trace of its call, which is told its id at once (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  const metadata = new Metadata();
  metadata.set('x-request-id', 'ci-4711');
  metadata.set('traceparent', traceparent);
  const call = harness.client.build(metadata);
  const told = once(call, 'metadata');
  const answers = await build(call, [start({ dockerfile: 'FROM scratch\n' })]);
  const [answered] = (await told) as [Metadata];
  assert.deepEqual(answered.get('x-request-id'), ['ci-4711']);
  assert.deepEqual(builds.started[0]?.origin, { requestId: 'ci-4711', traceparent });
  const [accepted] = answers.map(({ part }) => part);
  assert.ok(accepted?.$case === 'accepted');
  assert.deepEqual(
    [accepted.value.requestId, accepted.value.traceparent],
    [record.requestId, record.traceparent],
  );
});

test('a call without an id is given one (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const call = harness.client.getBuild({ id: record.id }, () => undefined);
  const [answered] = (await once(call, 'metadata')) as [Metadata];
  assert.match(String(answered.get('x-request-id')[0]), /^[0-9a-f-]{36}$/);
});

test('a call that is refused at the door is told its id, too (simulated builds)', async () => {
  const authenticate = async (): Promise<never> => {
    throw new KilnError('TOKEN_MISSING', 'A token is needed.');
  };
  await using harness = await serve(simulateBuilds(), {}, authenticate);
  const metadata = new Metadata();
  metadata.set('x-request-id', 'ci-4711');
  const refused = await new Promise<ServiceError | null>((resolve) => {
    harness.client.getBuild({ id: record.id }, metadata, resolve);
  });
  assert.equal(refused?.code, status.UNAUTHENTICATED);
  assert.deepEqual(refused.metadata.get('x-request-id'), ['ci-4711']);
});
