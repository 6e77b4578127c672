import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { installTools } from '../install-tools.ts';

const { signal } = new AbortController();

/** In a network of its own, where 10.9.8.7 is an address as another machine's is: what both doors answer who comes from there. */
const program = `
  import { execFileSync } from 'node:child_process';
  import { credentials, Metadata, status } from '@grpc/grpc-js';
  import { BuildServiceClient } from '${import.meta.resolve('../../src/grpc/generated/kiln/v1/build_service.ts')}';
  import { createGrpcServer, defaultGrpcSettings } from '${import.meta.resolve('../../src/grpc/server.ts')}';
  import { createHttpServer } from '${import.meta.resolve('../../src/http/server.ts')}';
  import { createAuthenticator } from '${import.meta.resolve('../../src/tokens/authenticate.ts')}';
  import { record, simulateBuilds } from '${import.meta.resolve('../simulated-builds.ts')}';
  import { openTokens } from '${import.meta.resolve('./harness.ts')}';

  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  execFileSync('ip', ['address', 'add', '10.9.8.7/32', 'dev', 'lo']);
  const logger = { info() {}, warn() {}, error() {} };
  await using tokens = await openTokens();
  const seen = [];

  async function askBoth(what, secure, token) {
    const authenticate = createAuthenticator(tokens.folder, { secure, proxied: false });
    const common = { builds: simulateBuilds(), authenticate, logger };
    const settings = { hosts: ['10.9.8.7'], tls: null, uploadMaxBytes: 1 };
    const http = createHttpServer({ ...common, settings });
    const grpc = createGrpcServer({ ...common, settings: { ...defaultGrpcSettings, ...settings } });
    const port = new URL((await http.listen({ host: '0.0.0.0', port: 0 })).url).port;
    const { port: grpcPort } = await grpc.listen({ host: '0.0.0.0', port: 0 });
    for (const host of ['127.0.0.1', '10.9.8.7']) {
      const authorization = token && 'Bearer ' + token;
      const answer = await fetch('http://' + host + ':' + port + '/version', token && { headers: { authorization } });
      const metadata = new Metadata();
      if (token) metadata.set('authorization', authorization);
      const client = new BuildServiceClient(host + ':' + grpcPort, credentials.createInsecure());
      const error = await new Promise((resolve) => client.getBuild({ id: record.id }, metadata, resolve));
      client.close();
      const code = answer.status === 200 ? 'OK' : (await answer.json()).code;
      seen.push([what, host, answer.status, code, error ? status[error.code] : 'OK'].join(' '));
    }
    await http.close(0);
    await grpc.close(0);
  }

  await askBoth('no-tokens', false);
  const token = await tokens.make('read');
  await askBoth('plain-none', false);
  await askBoth('plain', false, token);
  await askBoth('secure', true, token);
  await askBoth('secure-none', true);
  console.log(seen.join('\\n'));
  process.exitCode = 0;`;

test('from beyond this machine a token is taken over TLS alone, unless a proxy is said to end it, at both doors', async () => {
  await installTools([
    { find: 'ip', package: 'iproute2' },
    { find: 'unshare', package: 'util-linux' },
  ]);
  const node = [process.execPath, '--input-type=module', '--eval', program];
  const printed = await runTool('unshare', ['--map-root-user', '--net', ...node], signal);
  assert.deepEqual(printed.trim().split('\n'), [
    'no-tokens 127.0.0.1 200 OK OK',
    'no-tokens 10.9.8.7 401 TOKEN_MISSING UNAUTHENTICATED',
    'plain-none 127.0.0.1 401 TOKEN_MISSING UNAUTHENTICATED',
    'plain-none 10.9.8.7 403 TLS_REQUIRED PERMISSION_DENIED',
    'plain 127.0.0.1 200 OK OK',
    'plain 10.9.8.7 403 TLS_REQUIRED PERMISSION_DENIED',
    'secure 127.0.0.1 200 OK OK',
    'secure 10.9.8.7 200 OK OK',
    'secure-none 127.0.0.1 401 TOKEN_MISSING UNAUTHENTICATED',
    'secure-none 10.9.8.7 401 TOKEN_MISSING UNAUTHENTICATED',
  ]);
});
