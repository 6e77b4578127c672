import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Builds } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import { digest, endless, event, everyEvent, log, readiness, record } from '../simulated-builds.ts';
import { assertProblem, open, send, serve, waitFor } from './harness.ts';

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
    assertProblem(await send(harness, path), 404, 'NOT_FOUND');
});

for (const [method, path, allow] of [
  ['GET', '/build', 'POST'],
  ['PUT', '/v1/builds', 'GET, HEAD, POST'],
  ['POST', build, 'GET, HEAD, DELETE'],
  ['OPTIONS', build, 'GET, HEAD, DELETE'],
  ['DELETE', `${build}/log`, 'GET, HEAD'],
  ['POST', '/livez', 'GET, HEAD'],
  ['DELETE', '/openapi.json', 'GET, HEAD'],
] as const) {
  test(`row 59: ${method} ${path} gets 405, Allow: ${allow} (simulated builds)`, async () => {
    await using harness = await serve();
    const answer = await send(harness, path, { method });
    assertProblem(answer, 405, 'METHOD_NOT_ALLOWED');
    assert.equal(answer.headers.allow, allow);
  });
}

for (const id of ['none', '..%2f..%2fetc', 'x'.repeat(10_000), '019a0000-0000-7000-8000-0000000000ff']) {
  test(`row 68: build ${id.slice(0, 40)} is not there, whatever is asked of it (simulated builds)`, async () => {
    await using harness = await serve();
    for (const path of ['', '/log', '/events', '/artifact'])
      assertProblem(await send(harness, `/v1/builds/${id}${path}`), 404, 'NOT_FOUND');
    assertProblem(await send(harness, `/v1/builds/${id}`, { method: 'DELETE' }), 404, 'NOT_FOUND');
  });
}

test('a build is cancelled by DELETE, row 69: once (simulated builds)', async () => {
  await using harness = await serve({ script: (signal) => endless([], signal) });
  const { status, body } = await send(harness, build, { method: 'DELETE' });
  assert.deepEqual([status, JSON.parse(body).state], [200, 'cancelled']);
  assert.deepEqual(harness.builds.cancelled, [`${record.id}: The build was cancelled.`]);
  assertProblem(await send(harness, build, { method: 'DELETE' }), 409, 'BUILD_TERMINAL');
});

for (const code of ['NOT_READY', 'GONE', 'NOT_FOUND'] as const) {
  test(`row 70: an artifact that is not there says why: ${code} (simulated builds)`, async () => {
    const artifact: Builds['artifact'] = async () => {
      throw new KilnError(code, 'It is not there.');
    };
    await using harness = await serve({ overrides: { artifact } });
    const status = { NOT_READY: 409, GONE: 410, NOT_FOUND: 404 }[code];
    assertProblem(await send(harness, `${build}/artifact`), status, code);
  });
}

for (const [query, headers, status, code] of [
  ['?offset=-1', {}, 400, 'OFFSET_INVALID'],
  ['?offset=NaN', {}, 400, 'OFFSET_INVALID'],
  ['?offset=1e3', {}, 400, 'OFFSET_INVALID'],
  ['?offset=', {}, 400, 'OFFSET_INVALID'],
  ['?offset=1&offset=2', {}, 400, 'OFFSET_INVALID'],
  ['?follow=maybe', {}, 422, 'PARAM_INVALID'],
  ['?from=1', {}, 400, 'REQUEST_INVALID'],
] as const) {
  test(`row 71: a log or events with ${query} get ${code} (simulated builds)`, async () => {
    await using harness = await serve();
    for (const path of ['log', 'events'])
      assertProblem(await send(harness, `${build}/${path}${query}`, { headers }), status, code);
  });
}

test('row 71: a bad Last-Event-ID is refused, an offset beyond the end too (simulated builds)', async () => {
  await using harness = await serve();
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': 'x' };
  assertProblem(await send(harness, `${build}/events`, { headers }), 400, 'OFFSET_INVALID');
  for (const path of ['log', 'events'])
    assertProblem(await send(harness, `${build}/${path}?offset=999`), 416, 'OUT_OF_RANGE');
});

test('the list is paged by a Link to the next page (simulated builds)', async () => {
  const records = Array.from({ length: 5 }, (_, index) => ({
    ...record,
    id: record.id.replace(/.$/, `${9 - index}`),
  }));
  const list: Builds['list'] = async ({ limit, before }) => {
    const start = before === undefined ? 0 : records.findIndex(({ id }) => id === before) + 1;
    const builds = records.slice(start, start + limit);
    return { builds, more: start + builds.length < records.length };
  };
  await using harness = await serve({ overrides: { list } });
  const seen: string[] = [];
  let pages = 0;
  for (let path: string | undefined = '/v1/builds?limit=2'; path !== undefined; pages += 1) {
    const { headers, body } = await send(harness, path);
    for (const { id } of JSON.parse(body).builds) seen.push(id);
    path = /^<(.+)>; rel="next"$/.exec(String(headers['link']))?.[1];
  }
  assert.deepEqual(
    seen,
    records.map(({ id }) => id),
  );
  assert.equal(pages, 3);
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=x'])
    assertProblem(await send(harness, `/v1/builds?${query}`), 422, 'PARAM_INVALID');
  assertProblem(await send(harness, '/v1/builds?state=failed'), 400, 'REQUEST_INVALID');
});

test('a log is sent as it is, from its offset, followed where asked (simulated builds)', async () => {
  const bytes = Buffer.from([0, 255, 10, 13, 27, 128]);
  const asked: unknown[] = [];
  const readLog: Builds['readLog'] = async (_id, { offset, follow }) => {
    asked.push({ offset, follow });
    return (async function* () {
      yield bytes;
    })();
  };
  await using harness = await serve({ overrides: { readLog } });
  const response = await fetch(`${harness.url}${build}/log?offset=7&follow=true`);
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes);
  assert.equal(response.headers.get('content-type'), 'text/plain; charset=utf-8');
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  assert.deepEqual(asked, [{ offset: 7, follow: true }]);
  assert.equal((await send(harness, `${build}/log`, { method: 'HEAD' })).body, '');
});

test('a log that breaks off is cut, and so is known to be incomplete (simulated builds)', async () => {
  const readLog: Builds['readLog'] = async () =>
    (async function* () {
      yield Buffer.from('#1\n');
      throw new Error('the disk broke');
    })();
  await using harness = await serve({ overrides: { readLog } });
  const { complete, body } = await send(harness, `${build}/log`);
  assert.deepEqual([complete, body], [false, '#1\n']);
  const [entry] = harness.logged;
  assert.deepEqual(
    [entry?.level, entry?.message, String(entry?.['error'])],
    ['error', 'internal error', 'Error: the disk broke'],
  );
});

test('events come as NDJSON, or as server-sent events that resume after Last-Event-ID (simulated builds)', async () => {
  await using harness = await serve();
  const lines = (await send(harness, `${build}/events`)).body.trimEnd().split('\n');
  assert.equal(lines.length, everyEvent.filter(({ kind }) => kind === 'event').length);
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': '280' };
  const { body } = await send(harness, `${build}/events?offset=0&follow=true`, { headers });
  assert.match(body, /^id: 300\nevent: verdict\ndata: .*\n\n$/);
});

test('a browser that comes back after the last event is told to stay away (simulated builds)', async () => {
  await using harness = await serve();
  const ask = (lastEventId: string) =>
    send(harness, `${build}/events?follow=true`, {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': lastEventId },
    });
  assert.equal((await ask('300')).status, 204);
  const before = await ask('280');
  assert.equal(before.status, 200);
  assert.match(before.body, /^id: 300\n/);
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
  const ask = (headers = {}, method = 'GET') => send(harness, `${build}/artifact`, { method, headers });
  const whole = await ask();
  const etag = `"${digest}"`;
  assert.deepEqual([whole.status, whole.body], [200, 'hello world']);
  assert.deepEqual(
    ['content-type', 'content-length', 'etag', 'accept-ranges', 'content-disposition'].map(
      (name) => whole.headers[name],
    ),
    ['application/x-tar', '11', etag, 'bytes', `attachment; filename="${record.id}.oci.tar"`],
  );
  const head = await ask({}, 'HEAD');
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '11', '']);
  const part = await ask({ Range: 'bytes=6-' });
  assert.deepEqual([part.status, part.headers['content-range'], part.body], [206, 'bytes 6-10/11', 'world']);
  assert.equal((await ask({ Range: 'bytes=6-', 'If-Range': etag })).status, 206);
  assert.equal((await ask({ Range: 'bytes=6-', 'If-Range': '"other"' })).status, 200);
  assert.equal((await ask({ 'If-None-Match': etag })).status, 304);
  assertProblem(await ask({ Range: 'bytes=99-' }), 416, 'OUT_OF_RANGE');
  assertProblem(await ask({ 'If-Match': '"other"' }), 400, 'REQUEST_INVALID');
  await rm(directory, { recursive: true });
  assertProblem(await ask(), 404, 'NOT_FOUND');
});

test('probes tell whether the service lives and can build, and what it is (simulated builds)', async () => {
  await using harness = await serve();
  assert.deepEqual(JSON.parse((await send(harness, '/livez')).body), { alive: true });
  const ready = await send(harness, '/readyz');
  assert.deepEqual([ready.status, JSON.parse(ready.body)], [200, readiness(true)]);
  await using starting = await serve({ overrides: { readiness: () => readiness(false) } });
  const notYet = await send(starting, '/readyz');
  assert.deepEqual([notYet.status, JSON.parse(notYet.body)], [503, readiness(false)]);
  const { name, version, entry } = JSON.parse((await send(harness, '/version')).body);
  assert.deepEqual([name, entry], ['kiln', 'buildkit-v0.20.2']);
  assert.match(version, /^\d+\.\d+\.\d+$/);
});

test('an error that is not ours says nothing outside and everything in the log, once (simulated builds)', async () => {
  const list: Builds['list'] = async () => {
    throw new TypeError('secret path /x/y');
  };
  await using harness = await serve({ overrides: { list } });
  const answer = await send(harness, '/v1/builds');
  const { detail, requestId } = assertProblem(answer, 500, 'INTERNAL');
  assert.equal(detail, 'internal error');
  assert.equal(harness.logged.length, 1);
  assert.equal(harness.logged[0]?.['requestId'], requestId);
  assert.match(String(harness.logged[0]?.['error']), /TypeError: secret path/);
});
