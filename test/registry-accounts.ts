import { execFile } from 'node:child_process';
import { randomUUID, sign, X509Certificate } from 'node:crypto';
import { copyFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DockerRegistry, startDockerRegistry } from './docker-registry.ts';
import { type Listening, listen } from './listen.ts';
import { makeIdentity } from './tls-identity.ts';

const run = promisify(execFile);

export type TestAccount = { readonly user: string; readonly password: string };

export const testAccount: TestAccount = { user: 'kiln', password: 'very-secret-word' };

export function basicAuthOf({ user, password }: TestAccount): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** Debian's registry, which asks for this account. */
export function startWithPasswords(account: TestAccount = testAccount): Promise<DockerRegistry> {
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

/** Gives tokens to whoever knows the account, as https://distribution.github.io/distribution/spec/auth/token has it. */
export async function startIssuer() {
  const identity = await makeIdentity();
  const scopes: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://issuer');
    const asked = url.searchParams.getAll('scope').flatMap((words) => words.split(' '));
    scopes.push(...asked);
    if (request.headers.authorization !== basicAuthOf(testAccount)) response.writeHead(401).end('{}');
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
  const claims = { iss: 'test', sub: testAccount.user, aud: 'test', jti: randomUUID(), access, ...times };
  const signed = [head, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
