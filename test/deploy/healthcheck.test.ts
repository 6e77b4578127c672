import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Server } from 'node:net';
import { test } from 'node:test';
import { runProgram } from '../run-program.ts';
import { makeIdentity } from '../tls-identity.ts';

async function check(server: Server, env: Record<string, string> = {}, host = '127.0.0.1'): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  const listen = { KILN_LISTEN: `${host}:${address.port}` };
  const { status } = await runProgram('deploy/healthcheck.ts', [], { ...listen, ...env });
  server.close();
  return status;
}

const answer =
  (status: number): RequestListener =>
  ({ url }, response) =>
    void response.writeHead(url === '/readyz' ? status : 404).end('{}');

test('a service that can build is healthy, wherever it listens; one that cannot yet is not', async () => {
  assert.equal(await check(createServer(answer(200))), 0);
  assert.equal(await check(createServer(answer(200)), {}, '0.0.0.0'), 0);
  assert.equal(await check(createServer(answer(503))), 1);
});

test('it is asked over TLS where it has a certificate, whoever that is for', async () => {
  await using made = await makeIdentity();
  const server = createTlsServer(made.identity, answer(200));
  assert.equal(await check(server, { KILN_TLS_CERT: made.certPath }), 0);
});

test('a service that is not there is not healthy', async () => {
  const { status, stdout } = await runProgram('deploy/healthcheck.ts', [], { KILN_LISTEN: '127.0.0.1:9' });
  assert.equal(status, 1);
  assert.match(stdout, /ECONNREFUSED/);
});
