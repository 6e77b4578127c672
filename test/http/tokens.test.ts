import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenApiDocument } from '../../src/http/docs/openapi.ts';
import { createPinoLogger } from '../../src/lib/pino-logger.ts';
import type { Role } from '../../src/model/caller.ts';
import { endless, record } from '../simulated-builds.ts';
import { readiness } from '../simulated-service.ts';
import { idOf, openTokens, type Tokens } from '../tokens/harness.ts';
import {
  archive,
  ask,
  assertProblem,
  contextPart,
  curl,
  form,
  formType,
  type Harness,
  serve,
} from './harness.ts';

const build = `/v1/builds/${record.id}`;
const operation = `/admin/operations/${record.id}`;
const refused = [403, 'ROLE_TOO_LOW'] as const;

/** Every call and what each role gets: a status, or the refusal. */
const calls: readonly (readonly [
  method: 'get' | 'post' | 'delete',
  path: string,
  expected: Readonly<Record<Role, number | typeof refused>>,
])[] = [
  ['post', '/build', { read: refused, build: 200, admin: 200 }],
  ['post', '/v1/builds', { read: refused, build: 200, admin: 200 }],
  ['get', '/v1/builds', { read: 200, build: 200, admin: 200 }],
  ['get', build, { read: 200, build: 200, admin: 200 }],
  ['get', `${build}/log`, { read: 200, build: 200, admin: 200 }],
  ['get', `${build}/events`, { read: 200, build: 200, admin: 200 }],
  ['get', `${build}/artifact`, { read: 404, build: 404, admin: 404 }],
  ['delete', build, { read: refused, build: 409, admin: 409 }],
  ['get', `/v1/matrices/${record.id}`, { read: 404, build: 404, admin: 404 }],
  ['delete', `/v1/matrices/${record.id}`, { read: refused, build: 404, admin: 404 }],
  ['post', '/admin/images/rebuild', { read: refused, build: refused, admin: 415 }],
  ['post', '/admin/images/rollback', { read: refused, build: refused, admin: 415 }],
  ['post', '/admin/prune', { read: refused, build: refused, admin: 415 }],
  ['get', '/admin/operations', { read: refused, build: refused, admin: 200 }],
  ['get', operation, { read: refused, build: refused, admin: 404 }],
  ['delete', operation, { read: refused, build: refused, admin: 404 }],
  ['post', `${operation}/resume`, { read: refused, build: refused, admin: 404 }],
  ['get', `${operation}/sbom`, { read: refused, build: refused, admin: 404 }],
  ['get', `${operation}/provenance`, { read: refused, build: refused, admin: 404 }],
  ['get', `${operation}/log`, { read: refused, build: refused, admin: 404 }],
  ['get', `${operation}/events`, { read: refused, build: refused, admin: 404 }],
  ['get', '/catalog', { read: 200, build: 200, admin: 200 }],
  ['get', '/metrics', { read: 200, build: 200, admin: 200 }],
  ['get', '/version', { read: 200, build: 200, admin: 200 }],
];
const open = ['/', '/docs', '/docs/errors', '/docs/initializer.js', '/openapi.json', '/livez', '/readyz'];

async function serveWithTokens(
  options: Parameters<typeof serve>[0] = {},
): Promise<AsyncDisposable & { harness: Harness; tokens: Tokens }> {
  const tokens = await openTokens();
  const harness = await serve({ ...options, authenticate: tokens.authenticate });
  return {
    ...{ harness, tokens },
    async [Symbol.asyncDispose]() {
      await harness[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

function call({ api }: Harness, method: 'get' | 'post' | 'delete', path: string, token?: string) {
  const request = api[method](path);
  if (token !== undefined) request.set('Authorization', `Bearer ${token}`);
  return method === 'post' ? request.set('Content-Type', 'application/x-tar').send(archive) : request;
}

test('the table has every call of the document that names a token, with its least role, and no other', () => {
  const { paths } = createOpenApiDocument() as {
    paths: Record<string, Record<string, { security?: { token?: string[] }[] }>>;
  };
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { security }]) =>
      security ? [`${method} ${path.replace('{id}', record.id)} ${security[0]?.token?.join()}`] : [],
    ),
  );
  const tried = calls.map(([method, path, { read, build: builder }]) => {
    const least = read !== refused ? 'read' : builder !== refused ? 'build' : 'admin';
    return `${method} ${path} ${least}`;
  });
  assert.deepEqual(tried.sort(), described.sort());
});

for (const [method, path, expected] of calls) {
  test(`${method} ${path}: each role, none, and a wrong token (simulated builds)`, async () => {
    await using service = await serveWithTokens();
    const { harness, tokens } = service;
    for (const [role, answer] of Object.entries(expected) as [Role, number | typeof refused][]) {
      const got = await call(harness, method, path, await tokens.make(role));
      if (typeof answer === 'number') assert.equal(got.status, answer, `${role}: ${got.text}`);
      else assertProblem(got, ...answer);
    }
    const none = await call(harness, method, path);
    assertProblem(none, 401, 'TOKEN_MISSING');
    assert.equal(none.headers['www-authenticate'], 'Bearer realm="kiln"');
    const wrong = await call(harness, method, path, `kiln_0123456789ab_${'A'.repeat(43)}`);
    assertProblem(wrong, 401, 'TOKEN_INVALID');
    assert.equal(wrong.headers['www-authenticate'], 'Bearer realm="kiln", error="invalid_token"');
    const basic = await harness.api[method](path).auth('kiln', await tokens.make('admin'));
    assertProblem(basic, 401, 'TOKEN_MISSING');
    assert.equal(
      harness.builds.started.length,
      /build/.test(path) && method === 'post' && !path.startsWith('/admin') ? 2 : 0,
    );
  });
}

test('probes and pages that tell nothing of builds need no token (simulated builds)', async () => {
  await using service = await serveWithTokens();
  const { harness, tokens } = service;
  await tokens.make('read');
  for (const path of open) await harness.api.get(path).expect(200);
});

test('who shows no token is told whether a build can run, and nothing of the machine (simulated builds)', async () => {
  const overrides = { readiness: () => readiness(false) };
  await using service = await serveWithTokens({ overrides });
  const { harness, tokens } = service;
  await harness.api.get('/readyz').expect(503, readiness(false));
  const token = await tokens.make('read');
  await harness.api.get('/readyz').expect(503, { ready: false });
  await call(harness, 'get', '/readyz', `${token}x`).expect(503, { ready: false });
  await call(harness, 'get', '/readyz', token).expect(503, readiness(false));
});

test('a caller of another tenant finds none of its builds (simulated builds)', async () => {
  await using service = await serveWithTokens();
  const { harness, tokens } = service;
  const stranger = await tokens.make('admin', 'other');
  for (const [method, path] of calls.filter(([, path]) => path.startsWith(build)))
    assertProblem(await call(harness, method, path, stranger), 404, 'NOT_FOUND');
  const { body } = await call(harness, 'get', '/v1/builds', stranger);
  assert.deepEqual(body, { builds: [] });
});

test('a token that is made or revoked counts from the next request on (simulated builds)', async () => {
  await using service = await serveWithTokens();
  const { harness, tokens } = service;
  await call(harness, 'get', '/v1/builds').expect(200);
  const token = await tokens.make('read');
  assertProblem(await call(harness, 'get', '/v1/builds'), 401, 'TOKEN_MISSING');
  await call(harness, 'get', '/v1/builds', token).expect(200);
  await tokens.folder.revoke(idOf(token));
  assertProblem(await call(harness, 'get', '/v1/builds', token), 401, 'TOKEN_INVALID');
  assertProblem(await call(harness, 'get', '/v1/builds'), 401, 'TOKEN_MISSING');
});

test('a build goes on to its verdict when its token is revoked meanwhile (simulated builds)', async () => {
  await using service = await serveWithTokens({ script: (signal) => endless([], signal) });
  const { harness, tokens } = service;
  const token = await tokens.make('build');
  const other = await tokens.make('build');
  const answer = curl(
    [
      '-H',
      `Authorization: Bearer ${token}`,
      '-F',
      'on-failure=end',
      '-F',
      'context=@-',
      `${harness.url}/build`,
    ],
    archive,
  );
  while (harness.builds.started.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await tokens.folder.revoke(idOf(token));
  await call(harness, 'delete', build, other).expect(200);
  const { exit, body } = await answer;
  assert.equal(exit, 0);
  assert.match(body, /kiln: build \S+ cancelled after/);
});

for (const [what, token] of [
  ['no token', undefined],
  ['a token that may only read', 'read'],
] as const) {
  test(`${what} is told before a body is asked for (simulated builds)`, async () => {
    await using service = await serveWithTokens();
    const { harness, tokens } = service;
    const made = await tokens.make('read');
    const line = token === undefined ? '' : `Authorization: Bearer ${made}\r\n`;
    const type = `Content-Type: ${formType}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n`;
    const answer = await ask(harness, `POST /build HTTP/1.1\r\nHost: localhost\r\n${line}${type}\r\n`);
    assert.match(answer, token === undefined ? /^HTTP\/1\.1 401 / : /^HTTP\/1\.1 403 /);
  });
}

test('more than one Authorization is refused: a proxy may believe the other one (simulated builds)', async () => {
  await using service = await serveWithTokens();
  const { harness, tokens } = service;
  const line = `Authorization: Bearer ${await tokens.make('admin')}\r\n`;
  const twice = `GET /v1/builds HTTP/1.1\r\nHost: localhost\r\n${line}${line.toUpperCase()}\r\n`;
  assert.match(await ask(harness, twice), /^HTTP\/1\.1 400 [\s\S]*more than one Authorization/);
});

test('an Authorization of 15 KB is wrong, one of 20 KB too large, and the next request is served (simulated builds)', async () => {
  await using service = await serveWithTokens();
  const { harness, tokens } = service;
  const token = await tokens.make('read');
  const get = (value: string) =>
    ask(harness, `GET /v1/builds HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${value}\r\n\r\n`);
  assert.match(await get(`Bearer ${token}${'A'.repeat(15_000)}`), /^HTTP\/1\.1 401 /);
  assert.match(await get(`Bearer ${token}${'A'.repeat(20_000)}`), /^HTTP\/1\.1 431 /);
  assert.match(await get(`Bearer ${token}`), /^HTTP\/1\.1 200 /);
});

test('nothing of a token is in the log or in an answer, whatever became of the request (simulated builds)', async () => {
  await using service = await serveWithTokens({
    overrides: { catalog: () => Promise.reject(new Error('it failed')) },
  });
  const { harness, tokens } = service;
  const token = await tokens.make('build');
  const secret = token.slice(-43);
  const answers = [
    await call(harness, 'post', '/build', token),
    await call(harness, 'get', `/v1/builds/${token}`, token),
    await call(harness, 'get', '/catalog', token),
    await call(harness, 'get', '/v1/builds', `${token}x`),
    await harness.api.get('/v1/builds').set('Authorization', token),
    await harness.api
      .post('/build')
      .set({ Authorization: `Bearer ${token}`, 'Content-Type': formType })
      .send(form(contextPart)),
  ];
  for (const { text, headers } of answers) assert.ok(!`${text} ${JSON.stringify(headers)}`.includes(secret));
  const broken = await ask(
    harness,
    `GET / HTTP/1.1\r\nAuthorization: Bearer ${token}\r\nHost localhost\r\n\r\n`,
  );
  assert.match(broken, /^HTTP\/1\.1 400 /);
  assert.ok(!broken.includes(secret));
  // As the process writes them.
  const seen: string[] = [];
  const logger = createPinoLogger('info', { write: (line) => void seen.push(line) });
  for (const { level, message, ...fields } of harness.logged) logger[level](fields, message);
  assert.ok(seen.length >= 4);
  assert.ok(seen.some((line) => line.includes(idOf(token))));
  assert.ok(!seen.some((line) => line.includes(secret)), seen.join('\n'));
});
