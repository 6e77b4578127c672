import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID, sign, X509Certificate } from 'node:crypto';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { type DockerRegistry, startDockerRegistry } from '../docker-registry.ts';
import { type Listening, listen } from '../listen.ts';
import { makeIdentity } from '../tls-identity.ts';
import { createLayout, ensureProgram, openTestRegistry, signal } from './harness.ts';

const run = promisify(execFile);
const account = { user: 'kiln', password: 'very-secret-word' };
const basicAuth = `Basic ${Buffer.from(`${account.user}:${account.password}`).toString('base64')}`;

let program: string;
before(async () => {
  program = await ensureProgram();
});

test('an account of the docker config may push to a registry that asks for a password', async () => {
  await using registry = await startWithPasswords();
  await pushAs(registry.host, account.password);
});

test('an account of the docker config may push to a registry that asks for a token of another server', async () => {
  await using issuer = await startIssuer();
  await using registry = await issuer.startRegistry();
  await pushAs(registry.host, account.password);
  assert.ok(
    issuer.scopes.some((scope) => /^repository:archive\/kiln:.*push/.test(scope)),
    issuer.scopes.join(),
  );
});

for (const [which, start] of [
  ['asks for a password', async () => ({ registry: await startWithPasswords(), issuer: null })],
  ['asks for a token', startWithIssuer],
] as const) {
  test(`where a registry ${which}, a wrong one and none at all say what to do, and no secret`, async () => {
    const { registry, issuer } = await start();
    await using _registry = registry;
    await using _issuer = issuer;
    for (const password of ['another-secret-word', null]) {
      await assert.rejects(pushAs(registry.host, password), (error: Error & { code: string }) => {
        assert.equal(error.code, 'REGISTRY_AUTH');
        assert.match(error.message, /KILN_REGISTRY_CONFIG/);
        assert.ok(!/secret|Basic /.test(`${error.message} ${String(error.cause)}`), error.message);
        return true;
      });
    }
  });
}

test('a docker config that is none is named', async () => {
  await using registry = await startWithPasswords();
  await using config = await writeConfig(registry.host, null);
  await writeFile(config.path, '{"auths": ');
  const opened = openTestRegistry({ program, host: registry.host, config: config.path });
  await assert.rejects(opened.digestOf('v1', signal), { code: 'INFRA', message: /config\.json/ });
});

async function pushAs(host: string, password: string | null): Promise<void> {
  await using image = await createLayout();
  await using config = await writeConfig(host, password);
  const registry = openTestRegistry({ program, host, config: config.path });
  await registry.push(image, 'pushing', signal);
  await registry.tag(image.digest, 'v1', signal);
  assert.equal(await registry.digestOf('v1', signal), image.digest);
}

async function writeConfig(
  host: string,
  password: string | null,
): Promise<AsyncDisposable & { path: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-docker-config-'));
  const path = join(directory, 'config.json');
  const auth = Buffer.from(`${account.user}:${password}`).toString('base64');
  await writeFile(path, JSON.stringify({ auths: password === null ? {} : { [host]: { auth } } }), {
    mode: 0o600,
  });
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

function startWithPasswords(): Promise<DockerRegistry> {
  return startDockerRegistry({
    settings: 'auth:\n  htpasswd:\n    realm: test\n    path: DIRECTORY/htpasswd\n',
    async prepare(directory) {
      // bcrypt, the one hash that this registry takes.
      const script = 'print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))';
      const { stdout } = await run('perl', ['-e', script, account.password]);
      await writeFile(join(directory, 'htpasswd'), `${account.user}:${stdout}\n`);
    },
  });
}

async function startWithIssuer() {
  const issuer = await startIssuer();
  return { registry: await issuer.startRegistry(), issuer };
}

/** Gives tokens to whoever knows the account, as https://distribution.github.io/distribution/spec/auth/token has it. */
async function startIssuer() {
  const identity = await makeIdentity();
  const scopes: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://issuer');
    const asked = url.searchParams.getAll('scope').flatMap((words) => words.split(' '));
    scopes.push(...asked);
    if (request.headers.authorization !== basicAuth) response.writeHead(401).end('{}');
    else response.end(JSON.stringify({ token: makeToken(asked, identity.identity) }));
  });
  const listening: Listening = await listen(server);
  const token = [
    `realm: http://127.0.0.1:${listening.port}/token`,
    'service: test',
    'issuer: test',
    'rootcertbundle: DIRECTORY/cert.pem',
  ];
  return {
    scopes,
    startRegistry: () =>
      startDockerRegistry({
        settings: `auth:\n  token:\n${token.map((line) => `    ${line}\n`).join('')}`,
        prepare: (directory) => copyFile(identity.certPath, join(directory, 'cert.pem')),
      }),
    async [Symbol.asyncDispose]() {
      await listening[Symbol.asyncDispose]();
      await identity[Symbol.asyncDispose]();
    },
  };
}

function makeToken(scopes: readonly string[], { cert, key }: { cert: Buffer; key: Buffer }): string {
  const now = Math.floor(Date.now() / 1000);
  const access = scopes.map((scope) => {
    const [type, name, actions = ''] = scope.split(':');
    return { type, name, actions: actions.split(',') };
  });
  const head = { typ: 'JWT', alg: 'ES256', x5c: [new X509Certificate(cert).raw.toString('base64')] };
  const times = { iat: now, nbf: now - 10, exp: now + 300 };
  const claims = { iss: 'test', sub: account.user, aud: 'test', jti: randomUUID(), access, ...times };
  const signed = [head, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
