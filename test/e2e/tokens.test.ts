import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, test } from 'node:test';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { BuildServiceClient } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { TokenFolder } from '../../src/tokens/token-folder.ts';
import { makeIdentity } from '../tls-identity.ts';
import { idOf } from '../tokens/harness.ts';
import { createContext, curl, startTestService, testData, waitFor } from './harness.ts';

/** A whole service as it is on a network: TLS, tokens, two tenants. */
const tls = await makeIdentity();
const service = await startTestService({
  env: { KILN_TLS_CERT: tls.certPath, KILN_TLS_KEY: tls.keyPath },
});
const tokens = new TokenFolder(testData);
after(async () => {
  await service[Symbol.asyncDispose]();
  await tls[Symbol.asyncDispose]();
  await rm(tokens.path, { recursive: true });
});
await waitFor(async () => service.builds.readiness().ready, 'the service is ready');

const make = async (role: 'read' | 'build', tenant: string): Promise<string> =>
  (await tokens.create({ role, tenant, name: '', days: null })).text;
const builder = await make('build', 'one');
const reader = await make('read', 'one');
const stranger = await make('build', 'two');

const ask = (token: string, ...args: readonly string[]) =>
  curl('--cacert', tls.certPath, '-H', `Authorization: Bearer ${token}`, ...args);

test('a build of one tenant runs in a VM, is read by its tokens at both doors, and is not there for another tenant', async () => {
  await using context = await createContext({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  const form = ['-F', `context=@${context.archive}`, `${service.httpUrl}/build`];
  assert.match((await ask(reader, ...form)).headers, /^HTTP\/1\.1 403 /);
  const { exit, body, headers } = await ask(builder, ...form);
  assert.equal(exit, 0, body);
  const id = /x-build-id: (\S+)/i.exec(headers)?.[1] ?? assert.fail(headers);
  const url = `${service.httpUrl}/v1/builds/${id}`;
  assert.equal(JSON.parse((await ask(reader, url)).body).tenant, 'one');
  assert.match((await ask(stranger, url)).headers, /^HTTP\/1\.1 404 /);

  const client = new BuildServiceClient(service.grpcAddress, credentials.createSsl(tls.identity.cert));
  const get = (token: string): Promise<ServiceError | null> => {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${token}`);
    return new Promise((resolve) => client.getBuild({ id }, metadata, resolve));
  };
  assert.equal(await get(reader), null);
  assert.equal((await get(stranger))?.code, status.NOT_FOUND);

  await tokens.revoke(idOf(reader));
  assert.match((await ask(reader, url)).headers, /^HTTP\/1\.1 401 /);
  assert.equal((await get(reader))?.code, status.UNAUTHENTICATED);
  client.close();
});
