import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { refusalOf } from '../../src/egress/outbound.ts';
import { connectOverTcp, createTestProxy, readUntil, serve, serveHttp, type TestProxy } from './harness.ts';

const established = 'HTTP/1.1 200 Connection established\r\n\r\n';

function serveEcho() {
  return serve((socket) => socket.pipe(socket));
}

async function openTunnel(proxy: TestProxy, port: number, ahead = ''): Promise<Duplex> {
  const guest = proxy.connect();
  guest.write(`CONNECT origin.test:${port} HTTP/1.1\r\nHost: a\r\n\r\n${ahead}`);
  assert.equal((await readUntil(guest, '\r\n\r\n')).startsWith(established), true);
  return guest;
}

test('a tunnel carries bytes both ways, also those sent ahead of the answer', async () => {
  await using server = await serveEcho();
  using proxy = createTestProxy([server.port]);
  const guest = proxy.connect();
  guest.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\nahead `);
  guest.write('after');
  assert.equal(await readUntil(guest, 'after'), `${established}ahead after`);
});

test('a tunnel stays open one way after the other has ended', async () => {
  await using server = await serve((socket) => {
    void text(socket).then((received) => socket.end(`got ${received}`));
  });
  using proxy = createTestProxy([server.port]);
  await using connection = await connectOverTcp(proxy.proxy);
  const { guest } = connection;
  guest.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await readUntil(guest, '\r\n\r\n');
  guest.end('everything');
  assert.equal(await text(guest), 'got everything');
});

test('a tunnel whose origin goes away ends', async () => {
  await using server = await serve((socket) => void socket.once('data', () => socket.resetAndDestroy()));
  using proxy = createTestProxy([server.port]);
  const guest = await openTunnel(proxy, server.port);
  guest.write('x');
  assert.equal(await text(guest), '');
});

const forbidden = [
  '127.0.0.1:80',
  '127.1:80',
  '0x7f.1:80',
  '2130706433:80',
  '0177.0.0.01:80',
  '[::1]:80',
  '[::ffff:127.0.0.1]:80',
  '[64:ff9b::7f00:1]:443',
  '169.254.169.254:80',
  '10.0.0.1:22',
  'localhost:22',
  'localhost.:22',
  'LOCALHOST:22',
  'origin.test:22',
];

for (const authority of forbidden) {
  test(`${authority} is refused as a URL and as a tunnel, and recorded`, async () => {
    using guest = createTestProxy([]);
    const requests = [`GET http://${authority}/ HTTP/1.1`, `CONNECT ${authority} HTTP/1.1`];
    for (const request of requests) {
      const answer = await guest.send(`${request}\r\nHost: public.test\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1.1 403 Forbidden\r\n/);
      assert.match(answer, /kiln: .* is not public, .* KILN_EGRESS_ALLOW=/);
    }
    const [destination, ...others] = guest.proxy.destinations();
    assert.deepEqual(others, []);
    const { allowed, address, connections } = destination ?? assert.fail();
    assert.deepEqual({ allowed, address, connections }, { allowed: false, address: null, connections: 2 });
  });
}

for (const authority of [
  'origin.test',
  'origin.test:',
  'origin.test:0',
  'a@origin.test:80',
  ':80',
  '::1:80',
  '/',
  'http://origin.test:80/',
]) {
  test(`CONNECT ${authority} is 400 and goes nowhere`, async () => {
    using guest = createTestProxy([]);
    assert.match(await guest.send(`CONNECT ${authority} HTTP/1.1\r\nHost: a\r\n\r\n`), /^HTTP\/1.1 400 /);
    assert.deepEqual(guest.proxy.destinations(), []);
  });
}

test('a name without addresses is 502', async () => {
  using guest = createTestProxy([80], async () => []);
  assert.match(
    await guest.send('CONNECT origin.test:80 HTTP/1.1\r\nHost: a\r\n\r\n'),
    /^HTTP\/1.1 502 [\s\S]*There is no host origin.test/,
  );
});

test('an origin that does not listen is 502, one that is too slow 504', async () => {
  const { port } = await closedPort();
  using guest = createTestProxy([port]);
  for (const request of [`CONNECT origin.test:${port}`, `GET http://origin.test:${port}/`]) {
    const answer = await guest.send(`${request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    assert.match(
      answer,
      /^HTTP\/1.1 502 Bad Gateway[\s\S]*kiln: The connection to origin.test:\d+: .*ECONNREFUSED/,
    );
  }
  const tooSlow = Object.assign(new Error('it timed out'), { code: 'ETIMEDOUT' });
  assert.equal(refusalOf({ host: 'origin.test', port }, tooSlow).status, 504);
});

async function closedPort(): Promise<{ port: number }> {
  await using server = await serveEcho();
  return { port: server.port };
}

test('the next address is tried where one does not answer', async () => {
  await using server = await serveEcho();
  using proxy = createTestProxy([server.port], async () => ['127.0.0.2', '127.0.0.1']);
  await openTunnel(proxy, server.port);
  assert.deepEqual(proxy.proxy.destinations(), [
    { host: 'origin.test', port: server.port, address: '127.0.0.1', allowed: true, connections: 1 },
  ]);
});

test('a name is looked up once for each connection', async () => {
  await using server = await serveEcho();
  let lookups = 0;
  using proxy = createTestProxy([server.port], async () => {
    lookups += 1;
    return ['127.0.0.1'];
  });
  await openTunnel(proxy, server.port);
  assert.equal(lookups, 1);
});

test('each destination is told once and counted', async () => {
  await using server = await serveHttp((_request, response) => void response.end());
  using guest = createTestProxy([server.port]);
  const request = `GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
  for (let count = 0; count < 3; count += 1) await guest.send(request);
  const destination = { host: 'origin.test', port: server.port, address: '127.0.0.1', allowed: true };
  assert.deepEqual(guest.told, [{ ...destination, connections: 1 }]);
  assert.deepEqual(guest.proxy.destinations(), [{ ...destination, connections: 3 }]);
});

test('at most a thousand destinations are recorded', async () => {
  using guest = createTestProxy([], async () => []);
  for (let index = 0; index < 1010; index += 1) {
    assert.match(await guest.send(`GET http://n${index}.test/ HTTP/1.1\r\nHost: a\r\n\r\n`), / 502 /);
  }
  assert.equal(guest.proxy.destinations().length, 1000);
  assert.equal(guest.told.length, 1000);
});

test('a guest that sends requests without end holds at most 128 connections to the outside', async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  let sockets = 0;
  await using server = await serve((socket) => {
    sockets += 1;
    socket.resume();
  });
  using proxy = createTestProxy([server.port]);
  const guest = proxy.connect();
  guest.write(`GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(300));
  assert.match(
    await proxy.send(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`),
    /^HTTP\/1.1 503 [\s\S]*This build has 128 connections open already/,
  );
  assert.ok(sockets <= 128, `${sockets} sockets`);
  assert.deepEqual(warnings, []);
});

test('a guest has at most 128 connections; one that ends makes room', async () => {
  await using server = await serveEcho();
  using proxy = createTestProxy([server.port]);
  const guests = Array.from({ length: 128 }, () => proxy.connect());
  assert.equal(await proxy.send('GET / HTTP/1.1\r\n\r\n'), '');
  const [first = assert.fail()] = guests;
  first.destroy();
  await once(first, 'close');
  assert.match(await proxy.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), / 400 /);
});

const garbage = [
  Buffer.from([0, 1, 2, 255, 254]),
  Buffer.from('\u0016\u0003\u0001\u0002\u0000\u0001'),
  Buffer.from(`GET http://origin.test/ HTTP/1.1\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`),
  Buffer.from(
    'GET http://origin.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
  ),
  Buffer.from('GET http://origin.test/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n'),
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  randomBytes(100_000),
];

for (const [index, bytes] of garbage.entries()) {
  test(`garbage of a guest ends its connection and nothing else (${index + 1})`, async () => {
    using proxy = createTestProxy([]);
    const guest = proxy.connect();
    guest.write(bytes);
    await text(guest);
    assert.match(await proxy.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), / 400 /);
    assert.deepEqual(proxy.proxy.destinations(), []);
  });
}

test('a guest that goes away while its name is looked up leaves no connection', async () => {
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  await using server = await serve((socket) => {
    socket.resume();
    socket.once('close', onClosed);
    socket.once('end', () => socket.end());
  });
  const lookup = Promise.withResolvers<string[]>();
  const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>();
  using proxy = createTestProxy([server.port], () => {
    onAsked();
    return lookup.promise;
  });
  const guest = proxy.connect();
  guest.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await asked;
  guest.destroy();
  lookup.resolve(['127.0.0.1']);
  await closed;
});

test('the end of the build cuts every connection and takes no other', async () => {
  await using server = await serveEcho();
  using proxy = createTestProxy([server.port]);
  const tunnels = await Promise.all([openTunnel(proxy, server.port), openTunnel(proxy, server.port)]);
  const rests = tunnels.map((tunnel) => text(tunnel));
  proxy.proxy[Symbol.dispose]();
  assert.deepEqual(await Promise.all(rests), ['', '']);
  assert.equal(await proxy.send('GET / HTTP/1.1\r\n\r\n'), '');
});

const mebibyte = 1024 * 1024;

for (const way of ['a tunnel', 'a plain request']) {
  test(`200 MiB pass through ${way} no faster than the guest reads`, async () => {
    const total = 200 * mebibyte;
    const block = randomBytes(mebibyte);
    let sent = 0;
    const sendAll = async (output: NodeJS.WritableStream): Promise<void> => {
      for (; sent < total; sent += block.length) if (!output.write(block)) await once(output, 'drain');
      output.end();
    };
    await using server =
      way === 'a tunnel'
        ? await serve((socket) => void sendAll(socket).catch(() => undefined))
        : await serveHttp((_request, response) => void sendAll(response).catch(() => undefined));
    using proxy = createTestProxy([server.port]);
    await using connection = await connectOverTcp(proxy.proxy);
    const { guest } = connection;
    const target = `origin.test:${server.port}`;
    guest.write(
      `${way === 'a tunnel' ? `CONNECT ${target}` : `GET http://${target}/`} HTTP/1.0\r\nHost: a\r\n\r\n`,
    );
    let received = 0;
    let mostAhead = 0;
    for await (const chunk of guest) {
      received += chunk.length;
      mostAhead = Math.max(mostAhead, sent - received);
      // A guest that reads slower than the others write.
      for (let turn = 0; turn < 3; turn += 1) await setImmediate();
    }
    assert.ok(received >= total && received < total + 1024, `${received} bytes`);
    assert.ok(mostAhead < 32 * mebibyte, `${mostAhead} bytes on their way`);
  });
}
