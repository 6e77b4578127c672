import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Builds } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import { digest, endless, event, everyEvent, log, record } from '../simulated-builds.ts';
import { catalog, readiness } from '../simulated-service.ts';
import { assertProblem, curl, type Logged, open, serve, waitFor } from './harness.ts';

const build = `/v1/builds/${record.id}`;

test('row 59: unknown addresses get 404 (simulated builds)', async () => {
  await using harness = await serve();
  for (const path of [
    '/nothing',
    '/v1',
    '/v1/builds/a/b',
    '/build/x',
    '/docs/assets/none',
    '/%zz',
    '/v1/builds/%ff',
  ])
    assertProblem(await harness.api.get(path), 404, 'NOT_FOUND');
});

for (const [method, path, allow] of [
  ['get', '/build', 'POST'],
  ['put', '/v1/builds', 'GET, HEAD, POST'],
  ['post', build, 'GET, HEAD, DELETE'],
  ['options', build, 'GET, HEAD, DELETE'],
  ['delete', `${build}/log`, 'GET, HEAD'],
  ['post', '/livez', 'GET, HEAD'],
  ['delete', '/openapi.json', 'GET, HEAD'],
] as const) {
  test(`row 59: ${method.toUpperCase()} ${path} gets 405, Allow: ${allow} (simulated builds)`, async () => {
    await using harness = await serve();
    const answer = await harness.api[method](path).expect('Allow', allow);
    assertProblem(answer, 405, 'METHOD_NOT_ALLOWED');
  });
}

for (const id of ['none', '..%2f..%2fetc', 'x'.repeat(10_000), '019a0000-0000-7000-8000-0000000000ff']) {
  test(`row 68: build ${id.slice(0, 40)} is not there, whatever is asked of it (simulated builds)`, async () => {
    await using harness = await serve();
    for (const path of ['', '/log', '/events', '/artifact'])
      assertProblem(await harness.api.get(`/v1/builds/${id}${path}`), 404, 'NOT_FOUND');
    assertProblem(await harness.api.delete(`/v1/builds/${id}`), 404, 'NOT_FOUND');
  });
}

test('a build is cancelled by DELETE, row 69: once (simulated builds)', async () => {
  await using harness = await serve({ script: (signal) => endless([], signal) });
  const { body } = await harness.api.delete(build).expect(200);
  assert.equal(body.state, 'cancelled');
  assert.deepEqual(harness.builds.cancelled, [`${record.id}: The build was cancelled.`]);
  assertProblem(await harness.api.delete(build), 409, 'BUILD_TERMINAL');
});

for (const code of ['NOT_READY', 'GONE', 'NOT_FOUND'] as const) {
  test(`row 70: an artifact that is not there says why: ${code} (simulated builds)`, async () => {
    const artifact: Builds['artifact'] = async () => {
      throw new KilnError(code, 'It is not there.');
    };
    await using harness = await serve({ overrides: { artifact } });
    const status = { NOT_READY: 409, GONE: 410, NOT_FOUND: 404 }[code];
    assertProblem(await harness.api.get(`${build}/artifact`), status, code);
  });
}

for (const [query, status, code] of [
  ['?offset=-1', 400, 'OFFSET_INVALID'],
  ['?offset=NaN', 400, 'OFFSET_INVALID'],
  ['?offset=1e3', 400, 'OFFSET_INVALID'],
  ['?offset=', 400, 'OFFSET_INVALID'],
  ['?offset=1&offset=2', 400, 'OFFSET_INVALID'],
  ['?follow=maybe', 422, 'PARAM_INVALID'],
  ['?from=1', 400, 'REQUEST_INVALID'],
] as const) {
  test(`row 71: a log or events with ${query} get ${code} (simulated builds)`, async () => {
    await using harness = await serve();
    for (const path of ['log', 'events'])
      assertProblem(await harness.api.get(`${build}/${path}${query}`), status, code);
  });
}

test('row 71: a bad Last-Event-ID is refused, an offset beyond the end too (simulated builds)', async () => {
  await using harness = await serve();
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': 'x' };
  assertProblem(await harness.api.get(`${build}/events`).set(headers), 400, 'OFFSET_INVALID');
  for (const path of ['log', 'events'])
    assertProblem(await harness.api.get(`${build}/${path}?offset=999`), 416, 'OUT_OF_RANGE');
});

test('a log is sent as it is, from its offset, followed where asked (simulated builds)', async () => {
  const bytes = Buffer.from([0, 255, 10, 13, 27, 128]);
  const asked: unknown[] = [];
  const readLog: Builds['readLog'] = async (_caller, _id, { offset, follow }) => {
    asked.push({ offset, follow });
    return (async function* () {
      yield bytes;
    })();
  };
  await using harness = await serve({ overrides: { readLog } });
  await harness.api
    .get(`${build}/log?offset=7&follow=true`)
    .responseType('blob')
    .expect('Content-Type', 'text/plain; charset=utf-8')
    .expect('X-Content-Type-Options', 'nosniff')
    .expect(bytes);
  assert.deepEqual(asked, [{ offset: 7, follow: true }]);
  await harness.api.head(`${build}/log`).expect(200);
});

test('a log that breaks off is cut, and so is known to be incomplete (simulated builds)', async () => {
  const readLog: Builds['readLog'] = async () =>
    (async function* () {
      yield Buffer.from('#1\n');
      throw new Error('the disk broke');
    })();
  await using harness = await serve({ overrides: { readLog } });
  const { exit, body } = await curl([`${harness.url}${build}/log`]);
  assert.deepEqual([exit, body], [18, '#1\n']);
  const [entry] = harness.logged;
  assert.deepEqual(
    [entry?.level, entry?.message, causeOf(entry)],
    ['error', 'internal error', 'Error: the disk broke'],
  );
});

test('events come as NDJSON, or as server-sent events that resume after Last-Event-ID (simulated builds)', async () => {
  await using harness = await serve();
  const lines = (await harness.api.get(`${build}/events`)).text.trimEnd().split('\n');
  assert.equal(lines.length, everyEvent.filter(({ kind }) => kind === 'event').length);
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': '290' };
  await harness.api
    .get(`${build}/events?offset=0&follow=true`)
    .set(headers)
    .expect(/^id: 300\nevent: verdict\ndata: .*\n\n$/);
});

test('a browser that comes back after the last event is told to stay away (simulated builds)', async () => {
  await using harness = await serve();
  const ask = (lastEventId: string) =>
    harness.api
      .get(`${build}/events?follow=true`)
      .set({ Accept: 'text/event-stream', 'Last-Event-ID': lastEventId });
  await ask('300').expect(204);
  await ask('290')
    .expect(200)
    .expect(/^id: 300\n/);
});

test('server-sent events show that they are alive (simulated builds)', async () => {
  const script = (signal: AbortSignal) => endless([log('#1\n'), event({ type: 'queued', place: 1 })], signal);
  await using harness = await serve({ script, settings: { keepAliveMs: 20 } });
  const head = `GET ${build}/events?follow=true HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`;
  const socket = await open(harness, head);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await waitFor(() => text.split('\r\n:\n\n\r\n').length > 3, 'comments');
  socket.destroy();
  await waitFor(() => harness.logged.some(({ status }) => status === 499), 'the reader is gone');
  assert.deepEqual(harness.builds.cancelled, [], 'a reader that leaves cancels nothing');
});

test('an artifact is a file with length, digest and name, in ranges too (simulated builds)', async () => {
  // A folder whose name begins with a dot, as data folders have.
  const directory = await mkdtemp(join(tmpdir(), '.kiln-artifact-'));
  const path = join(directory, 'blob');
  await writeFile(path, 'hello world');
  const artifact: Builds['artifact'] = async () => ({ artifact: { format: 'oci', digest, size: 11 }, path });
  await using harness = await serve({ overrides: { artifact } });
  const ask = (headers = {}) => harness.api.get(`${build}/artifact`).set(headers);
  const etag = `"${digest}"`;
  await ask()
    .expect(200, 'hello world')
    .expect('Content-Type', 'application/x-tar')
    .expect('Content-Length', '11')
    .expect('ETag', etag)
    .expect('Accept-Ranges', 'bytes')
    .expect('Content-Disposition', `attachment; filename="${record.id}.oci.tar"`);
  await harness.api.head(`${build}/artifact`).expect(200).expect('Content-Length', '11');
  await ask({ Range: 'bytes=6-' }).expect(206, 'world').expect('Content-Range', 'bytes 6-10/11');
  await ask({ Range: 'bytes=6-', 'If-Range': etag }).expect(206);
  await ask({ Range: 'bytes=6-', 'If-Range': '"other"' }).expect(200);
  await ask({ 'If-None-Match': etag }).expect(304);
  assertProblem(await ask({ Range: 'bytes=99-' }), 416, 'OUT_OF_RANGE');
  assertProblem(await ask({ 'If-Match': '"other"' }), 400, 'REQUEST_INVALID');
  await rm(directory, { recursive: true });
  const gone = await ask();
  assertProblem(gone, 410, 'GONE');
  assert.deepEqual(
    ['etag', 'content-disposition', 'cache-control'].map((name) => gone.headers[name]),
    [undefined, undefined, 'no-store'],
  );
});

test('probes tell whether the service lives and can build, and what it is (simulated builds)', async () => {
  await using harness = await serve();
  await harness.api.get('/livez').expect(200, { alive: true });
  await harness.api.get('/readyz').expect(200, readiness(true));
  await harness.api.get('/catalog').expect(200, { entries: catalog });
  await using starting = await serve({ overrides: { readiness: () => readiness(false) } });
  await starting.api.get('/readyz').expect(503, readiness(false));
  const { name, version, entry } = (await harness.api.get('/version')).body;
  assert.deepEqual([name, entry], ['kiln', 'buildkit-v0.20.2']);
  assert.match(version, /^\d+\.\d+\.\d+$/);
});

test('an error that is not ours says nothing outside and everything in the log, once (simulated builds)', async () => {
  const list: Builds['list'] = async () => {
    throw new TypeError('secret path /x/y');
  };
  await using harness = await serve({ overrides: { list } });
  const answer = await harness.api.get('/v1/builds');
  const { detail, requestId } = assertProblem(answer, 500, 'INTERNAL');
  assert.equal(detail, 'internal error');
  assert.equal(harness.logged.length, 1);
  assert.equal(harness.logged[0]?.['requestId'], requestId);
  assert.match(causeOf(harness.logged[0]), /TypeError: secret path/);
});

for (const [code, status, level] of [
  ['NO_CAPACITY', 503, 'info'],
  ['DRAINING', 503, 'info'],
  ['STORAGE_FULL', 507, 'error'],
] as const) {
  test(`an answer of ${status} that says ${code} is logged as ${level} (simulated builds)`, async () => {
    const list: Builds['list'] = async () => {
      throw new KilnError(code, 'Not now.', { cause: new Error('the cause') });
    };
    await using harness = await serve({ overrides: { list } });
    assertProblem(await harness.api.get('/v1/builds'), status, code);
    const [entry, ...others] = harness.logged;
    assert.deepEqual([entry?.level, entry?.message, entry?.['code'], others], [level, 'Not now.', code, []]);
  });
}

function causeOf(entry: Logged | undefined): string {
  assert.ok(entry?.['error'] instanceof KilnError);
  return String(entry['error'].cause);
}

test('a log that was removed before its first byte was read gets 410 (simulated builds)', async () => {
  const readLog: Builds['readLog'] = async () =>
    (async function* () {
      yield* [];
      throw new KilnError('GONE', 'It was removed.');
    })();
  await using harness = await serve({ overrides: { readLog } });
  assertProblem(await harness.api.get(`${build}/log`), 410, 'GONE');
});
