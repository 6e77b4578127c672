import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { recordSchema } from '../../src/http/schemas.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import { type SimulatedBuilds, simulateBuilds } from '../grpc/simulated-builds.ts';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
let server: HttpServer;
let builds: SimulatedBuilds;
let url: string;

before(async () => {
  builds = simulateBuilds();
  server = createHttpServer({
    builds,
    settings: { hosts: ['kiln.example'], uploadMaxBytes: 1_000_000 },
    log,
  });
  ({ url } = await server.listen({ host: '127.0.0.1', port: 0 }));
});
after(() => server.close());

type Call = { method?: string; path: string; headers?: Record<string, string>; body?: string };

/** node:http and not fetch: a test must be able to say any Host and Origin. */
function send({
  method = 'GET',
  path,
  headers = {},
  body,
}: Call): Promise<{ status: number; json: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}${path}`, { method, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject).on('end', () => {
        const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
        resolve({ status: response.statusCode ?? 0, json });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const tar = { 'content-type': 'application/x-tar' };
const refused: readonly (readonly [what: string, call: Call, status: number, code: string])[] = [
  [
    'a host name that is not ours',
    { path: '/readyz', headers: { host: 'evil.example' } },
    403,
    'HOST_NOT_ALLOWED',
  ],
  [
    'a form of another site',
    { method: 'POST', path: '/build', headers: { origin: 'http://evil.example' } },
    403,
    'ORIGIN_NOT_ALLOWED',
  ],
  [
    'a request a browser calls cross-site',
    { method: 'POST', path: '/build', headers: { 'sec-fetch-site': 'cross-site' } },
    403,
    'ORIGIN_NOT_ALLOWED',
  ],
  ['an unknown path', { path: '/nothing' }, 404, 'NOT_FOUND'],
  ['a wrong method', { path: '/build' }, 405, 'METHOD_NOT_ALLOWED'],
  [
    'JSON as the body',
    { method: 'POST', path: '/build', headers: { 'content-type': 'application/json' }, body: '{}' },
    415,
    'CONTENT_TYPE',
  ],
  [
    'a compressed body',
    { method: 'POST', path: '/build', headers: { ...tar, 'content-encoding': 'gzip' }, body: 'x' },
    415,
    'CONTENT_ENCODING',
  ],
  [
    'an upload over the limit',
    { method: 'POST', path: '/build', headers: { ...tar, 'content-length': '1000001' } },
    413,
    'UPLOAD_TOO_LARGE',
  ],
  [
    'a form without boundary',
    { method: 'POST', path: '/build', headers: { 'content-type': 'multipart/form-data' }, body: 'x' },
    400,
    'MULTIPART_INVALID',
  ],
  [
    'an unknown field',
    { method: 'POST', path: '/build?colour=red', headers: tar, body: 'x' },
    400,
    'MULTIPART_FIELD',
  ],
  [
    'a field given twice',
    { method: 'POST', path: '/build?target=a&target=b', headers: tar, body: 'x' },
    400,
    'MULTIPART_FIELD',
  ],
  [
    'a build argument without a value',
    { method: 'POST', path: '/build?build-arg=A', headers: tar, body: 'x' },
    422,
    'PARAM_INVALID',
  ],
  [
    'a tag that is none',
    { method: 'POST', path: '/build?tag=UPPER', headers: tar, body: 'x' },
    422,
    'REF_INVALID',
  ],
  [
    'a platform that is not offered',
    { method: 'POST', path: '/build?platform=linux/s390x', headers: tar, body: 'x' },
    422,
    'PLATFORM_UNSUPPORTED',
  ],
  ['an offset that is no number', { path: '/v1/builds/x/log?offset=-1' }, 400, 'OFFSET_INVALID'],
];
for (const [what, call, status, code] of refused) {
  test(`${what} gets ${status} ${code} (simulated builds)`, async () => {
    const answer = await send(call);
    assert.deepEqual({ status: answer.status, code: answer.json['code'] }, { status, code });
    assert.equal(answer.json['status'], status);
    assert.match(String(answer.json['requestId']), /./);
  });
}

test('names of the service itself are let in, configured ones too (simulated builds)', async () => {
  for (const host of ['localhost:1', '127.0.0.1', '[::1]:8080', 'kiln.example']) {
    assert.equal((await send({ path: '/livez', headers: { host } })).status, 200, host);
  }
});

test('Prefer: respond-async gets 202 with the record, which the API document describes (simulated builds)', async () => {
  const headers = { ...tar, prefer: 'respond-async' };
  const { status, json } = await send({ method: 'POST', path: '/v1/builds?target=a', headers, body: 'x' });
  assert.equal(status, 202);
  recordSchema.parse(json);
  assert.equal(builds.started.at(-1)?.spec.target, 'a');
});

test('the API document names every route, and its page loads nothing from elsewhere (simulated builds)', async () => {
  const { json } = await send({ path: '/openapi.json' });
  assert.ok(Object.keys(json['paths'] as object).includes('/build'));
  const page = await (await fetch(`${url}/docs`)).text();
  assert.doesNotMatch(page, /https?:/);
  const assets = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(assets.length >= 3);
  for (const asset of assets) assert.equal((await fetch(`${url}${asset}`)).status, 200, asset);
});
