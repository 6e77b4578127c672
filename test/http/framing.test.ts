import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { exchange, open, serve, waitFor } from './harness.ts';

const host = 'Host: localhost\r\n';
const post = `POST /build HTTP/1.1\r\n${host}Content-Type: application/x-tar\r\n`;

const malformed: Record<string, string> = {
  'Content-Length and Transfer-Encoding': `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'two Content-Lengths': `${post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
  'a bare line feed': `GET /livez HTTP/1.1\n${host}\n\n`,
  'a folded header': `GET /livez HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`,
  'a space before the colon': `GET /livez HTTP/1.1\r\n${host}X-A : b\r\n\r\n`,
  'a chunk size that is none': `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n`,
  'a chunk that is longer than it says': `${post}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n`,
  'an unknown transfer coding before chunked': `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'a second transfer coding': `${post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'two hosts': `GET /livez HTTP/1.1\r\n${host}Host: evil.example\r\nConnection: close\r\n\r\n`,
  'a whole URL': `GET http://evil.example/livez HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  'no host': 'GET /livez HTTP/1.1\r\n\r\n',
  TLS: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'a method that is none': `FROB /livez HTTP/1.1\r\n${host}\r\n`,
};
for (const [title, bytes] of Object.entries(malformed)) {
  test(`row 56: ${title} gets 400 and the end of the connection (simulated builds)`, async () => {
    await using harness = await serve();
    assert.match(await exchange(harness, Buffer.from(bytes, 'latin1')), /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.deepEqual(harness.builds.started, []);
    await waitFor(async () => (await harness.staged()).length === 0, 'nothing is staged');
  });
}

for (const [what, bytes] of [
  ['is no HTTP', 'hello\r\n\r\n'],
  ['has no Host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n'],
] as const) {
  test(`what ${what} gets a problem with a code (simulated builds)`, async () => {
    await using harness = await serve();
    const answer = await exchange(harness, bytes);
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    assert.match(head, /Content-Type: application\/problem\+json/);
    const { status, code, title } = JSON.parse(body);
    assert.deepEqual([status, code, title], [400, 'REQUEST_INVALID', 'Bad Request']);
  });
}

test('an answer arrives although what follows its request is no HTTP (simulated builds)', async () => {
  await using harness = await serve();
  const refused = 'POST /build HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n';
  assert.match(await exchange(harness, `${refused}a body without a length`), /^HTTP\/1\.1 403 .*/);
});

test('row 57: headers over 16 KiB get 431 (simulated builds)', async () => {
  await using harness = await serve();
  const answer = await exchange(harness, `GET /livez HTTP/1.1\r\n${host}X-A: ${'x'.repeat(20_000)}\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 431 [\s\S]*"status":431/);
});

test('row 57: 100 headers are taken, 101 or __proto__ get 400 (simulated builds)', async () => {
  await using harness = await serve();
  const named = (count: number): string =>
    Array.from({ length: count }, (_, index) => `X-${index}: a\r\n`).join('');
  const ask = (headers: string): Promise<string> =>
    exchange(harness, `GET /livez HTTP/1.1\r\n${host}Connection: close\r\n${headers}\r\n`);
  assert.match(await ask(named(98)), /^HTTP\/1\.1 200 /);
  assert.match(await ask(named(99)), /^HTTP\/1\.1 400 [\s\S]*"REQUEST_INVALID"/);
  assert.match(await ask('__proto__: x\r\n'), /^HTTP\/1\.1 400 [\s\S]*"REQUEST_INVALID"/);
});

test('row 55: headers that do not end get 408 and the end of the connection (simulated builds)', async () => {
  await using harness = await serve({ settings: { headersMs: 300 } });
  const answer = await exchange(harness, `GET /livez HTTP/1.1\r\n${host}`);
  assert.match(answer, /^HTTP\/1\.1 408 [\s\S]*"code":"UPLOAD_TIMEOUT"/);
});

test('row 60: what follows a refused upload on its connection is not served (simulated builds)', async () => {
  await using harness = await serve();
  const refused = `${post}Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nabc`;
  const answer = await exchange(harness, `${refused}GET /livez HTTP/1.1\r\n${host}\r\n`);
  assert.match(answer, /^HTTP\/1\.1 415 [\s\S]*Connection: close/);
  assert.equal(answer.split('HTTP/1.1').length, 2);
});

test('a connection is kept for the next request (simulated builds)', async () => {
  await using harness = await serve();
  const ask = `GET /livez HTTP/1.1\r\n${host}\r\n`;
  const socket = await open(harness, ask);
  await once(socket, 'data');
  socket.write(ask);
  const [second] = await once(socket, 'data');
  assert.match(String(second), /^HTTP\/1\.1 200 /);
  socket.destroy();
});

for (const [given, kept] of [
  ['my-id_1.2', true],
  ['x'.repeat(128), true],
  ['x'.repeat(129), false],
  ['two words', false],
  ['a\tb', false],
] as const) {
  test(`a request id of ${JSON.stringify(given.slice(0, 12))}, ${given.length} long, is ${kept ? 'kept' : 'replaced'} (simulated builds)`, async () => {
    await using harness = await serve();
    const answer = await harness.api.get('/nowhere').set('X-Request-Id', given);
    const id = answer.headers['x-request-id'];
    assert.equal(id === given, kept);
    assert.match(String(id), /^[\w.-]{1,128}$/);
    assert.equal(answer.body.requestId, id);
    assert.equal(harness.logged[0]?.['requestId'], id);
  });
}
