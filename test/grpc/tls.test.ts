import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { BuildServiceClient } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { assertEndsDespiteSilence, makeIdentity } from '../tls-identity.ts';
import { build, context, items, serve, start } from './harness.ts';

const get = (client: BuildServiceClient): Promise<ServiceError | null> =>
  new Promise((resolve) =>
    client.getBuild({ id: record.id }, new Metadata(), { deadline: Date.now() + 60_000 }, resolve),
  );

test('a build goes over TLS as it does without; a client without TLS gets nothing (simulated builds)', async () => {
  await using tls = await makeIdentity();
  const { identity } = tls;
  await using harness = await serve(simulateBuilds({ script: items }), { tls: identity });
  const address = `localhost:${harness.port}`;
  const client = new BuildServiceClient(address, credentials.createSsl(identity.cert));
  const answers = await build(client.build(), [start(), context('x')]);
  assert.deepEqual(
    answers.map(({ part }) => part?.$case),
    ['accepted', 'event', 'log', 'event'],
  );
  // Of the harness: it speaks plaintext.
  assert.equal((await get(harness.client))?.code, status.UNAVAILABLE);
  const stranger = new BuildServiceClient(address, credentials.createSsl());
  assert.equal((await get(stranger))?.code, status.UNAVAILABLE, 'it does not know the certificate');
  assert.equal(await get(client), null);
  client.close();
  stranger.close();
  assert.deepEqual(harness.errors, []);
});

test('a handshake that does not end does not hold up the end of the server (simulated builds)', async () => {
  await using tls = await makeIdentity();
  await using harness = await serve(simulateBuilds(), { tls: tls.identity });
  await assertEndsDespiteSilence(harness);
});
