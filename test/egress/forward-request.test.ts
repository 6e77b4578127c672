import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { createTestProxy, readUntil, serve, serveHttp } from './harness.ts';

type Seen = { method: string; url: string; headers: IncomingHttpHeaders; body: string };

async function serveSeen() {
  const seen: Seen[] = [];
  const server = await serveHttp((request, response) => {
    const { method = '', url = '', headers } = request;
    void text(request).then((body) => {
      seen.push({ method, url, headers, body });
      response.writeHead(201, {
        'x-answer': 'yes',
        connection: 'x-hop',
        'x-hop': 'no',
        'proxy-authenticate': 'no',
      });
      response.end('the answer');
    });
  });
  return { seen, ...server };
}

test('a request arrives with its path as it was sent, its own Host and no header of the hop', async () => {
  await using server = await serveSeen();
  using guest = createTestProxy([server.port]);
  const answer = await guest.send(
    [
      `GET http://Origin.TEST.:${server.port}/a/../b%2fc?sig=%27x'{}#fragment HTTP/1.1`,
      'Host: victim.test',
      'Connection: close, x-private',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic c2VjcmV0',
      'Keep-Alive: timeout=5',
      'Upgrade: h2c',
      'X-Private: 1',
      'X-Kept: 2',
      '\r\n',
    ].join('\r\n'),
  );
  const [{ method, url, headers } = assert.fail()] = server.seen;
  assert.deepEqual([method, url], ['GET', "/a/../b%2fc?sig=%27x'{}"]);
  assert.deepEqual(headers, { host: `origin.test.:${server.port}`, connection: 'close', 'x-kept': '2' });
  assert.match(answer, /^HTTP\/1.1 201 Created\r\n/);
  assert.match(answer, /x-answer: yes\r\n/);
  assert.match(answer, /the answer/);
  assert.doesNotMatch(answer, /x-hop|proxy-authenticate/i);
});

for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
  for (const framing of [
    'Content-Length: 5\r\n\r\nhello',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ]) {
    test(`the body of ${method} arrives with ${framing.split(':')[0]}`, async () => {
      await using server = await serveSeen();
      using guest = createTestProxy([server.port]);
      await guest.send(
        `${method} http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${framing}`,
      );
      assert.deepEqual(
        server.seen.map((seen) => [seen.method, seen.body]),
        [[method, 'hello']],
      );
    });
  }
}

test('a body that waits for 100-continue is asked for', async () => {
  await using server = await serveSeen();
  using proxy = createTestProxy([server.port]);
  const guest = proxy.connect();
  guest.write(
    `PUT http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
  );
  assert.equal(await readUntil(guest, '\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
  guest.write('hello');
  assert.match(await text(guest), /201 Created/);
  assert.equal(server.seen[0]?.body, 'hello');
});

test('one connection of the guest carries many requests, each to where it goes', async () => {
  await using one = await serveHttp((_request, response) => void response.end('from one'));
  await using two = await serveHttp((_request, response) => void response.end('from two'));
  using proxy = createTestProxy([one.port, two.port]);
  const guest = proxy.connect();
  for (const [port, body] of [
    [one.port, 'from one'],
    [two.port, 'from two'],
    [one.port, 'from one'],
  ] as const) {
    guest.write(`GET http://origin.test:${port}/ HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.match(await readUntil(guest, body), /200 OK/);
  }
  assert.deepEqual(
    proxy.proxy.destinations().map(({ port, connections }) => [port, connections]),
    [
      [one.port, 2],
      [two.port, 1],
    ],
  );
});

test('an answer streams: its first bytes arrive while the rest is not made yet', async () => {
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  await using server = await serveHttp((_request, response) => {
    response.write('first');
    void mayEnd.then(() => response.end('last'));
  });
  using proxy = createTestProxy([server.port]);
  const guest = proxy.connect();
  guest.write(`GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  await readUntil(guest, 'first\r\n');
  end();
  assert.match(await text(guest), /last/);
});

const malformed = [
  'GET / HTTP/1.1',
  'GET https://origin.test/ HTTP/1.1',
  'GET ftp://origin.test/ HTTP/1.1',
  'GET http://user:password@origin.test/ HTTP/1.1',
  'GET http://user@127.0.0.1/ HTTP/1.1',
  'GET http://origin.test:0/ HTTP/1.1',
  'GET http://origin.test:99999/ HTTP/1.1',
  'GET http://[::1/ HTTP/1.1',
  'GET http:///path HTTP/1.1',
  `GET http://${'a'.repeat(300)}/ HTTP/1.1`,
  'OPTIONS * HTTP/1.1',
];

for (const line of malformed) {
  test(`${line.slice(0, 50)} is 400 and goes nowhere`, async () => {
    using guest = createTestProxy([]);
    assert.match(await guest.send(`${line}\r\nHost: a\r\nConnection: close\r\n\r\n`), /^HTTP\/1.1 400 /);
    assert.deepEqual(guest.proxy.destinations(), []);
  });
}

/** Answers of a hostile origin, and the first line the guest sees. */
const hostileAnswers: readonly (readonly [string, string, RegExp])[] = [
  ['a status below 100', 'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n', /^HTTP\/1.1 502 /],
  [
    'an upgrade nobody asked for',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    /^HTTP\/1.1 502 /,
  ],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n', /^HTTP\/1.1 502 /],
  ['nothing', '', /^HTTP\/1.1 502 /],
  ['endless headers', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, /^HTTP\/1.1 502 /],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', /^HTTP\/1.1 502 /],
];

for (const [title, bytes, expected] of hostileAnswers) {
  test(`an origin that answers with ${title} harms nobody`, async () => {
    await using server = await serve((socket) => {
      socket.once('data', () => socket.end(bytes, 'latin1'));
    });
    using guest = createTestProxy([server.port]);
    const answer = await guest.send(
      `GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
    );
    assert.match(answer, expected);
    assert.equal(
      (await guest.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')).slice(9, 12),
      '400',
    );
  });
}

test('an answer that was cut is seen as cut', async () => {
  await using server = await serve((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort'));
  });
  using guest = createTestProxy([server.port]);
  const request = `GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\n\r\n`;
  await assert.rejects(guest.send(request), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
});

test('a guest that goes away ends its request', async () => {
  const { promise: arrived, resolve: onData } = Promise.withResolvers<void>();
  const { promise: gone, resolve: onEnd } = Promise.withResolvers<void>();
  await using server = await serve((socket) => {
    socket.once('data', () => onData());
    socket.once('end', () => socket.end());
    socket.once('close', onEnd);
  });
  using proxy = createTestProxy([server.port]);
  const guest = proxy.connect();
  guest.write(`POST http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf`);
  await arrived;
  guest.destroy();
  await gone;
});
