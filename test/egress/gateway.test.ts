import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestDns } from './guest-dns.ts';
import { brief, createTestGateway, inTurn, lookUp, readSome, rulesOf, serve, serveHttp } from './harness.ts';

test('a name is connected to by the address that stands for it, and is on record with its bytes', async () => {
  await using server = await serve(
    (socket) => void socket.on('data', (data) => socket.end(`<${String(data)}>`)),
  );
  await using gateway = await createTestGateway(rulesOf({ allow: [`origin.test:${server.port}`] }));
  const address = await lookUp(gateway, 'Origin.Test');
  assert.match(address, /^198\.1[89]\./);
  const stream = await gateway.open(`${address}:${server.port}`);
  assert.ok(stream);
  stream.end('hello');
  assert.equal(await text(stream), '<hello>');
  assert.deepEqual(gateway.gateway.destinations(), [
    {
      ...{ name: 'origin.test', address: '127.0.0.1', port: server.port, announced: null },
      ...{ allowed: true, reason: null, connections: 1, bytesIn: 7, bytesOut: 5 },
    },
  ]);
  assert.deepEqual(gateway.told.map(brief), gateway.gateway.destinations().map(brief));
});

test('a bare address is on record as one; what it announces is noted and decides nothing', async () => {
  await using server = await serveHttp((_request, response) => response.end('hi'));
  await using gateway = await createTestGateway(rulesOf({ allow: [`127.0.0.1:${server.port}`] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  stream.write('GET / HTTP/1.1\r\nHost: Told.Example:80\r\nConnection: close\r\n\r\n');
  assert.match(await text(stream), /hi$/);
  const [seen] = gateway.gateway.destinations();
  assert.deepEqual([seen?.name, seen?.address, seen?.announced], [null, '127.0.0.1', 'told.example']);
});

/** Each is tried from a guest; nothing of it may arrive anywhere. */
const refused: readonly (readonly [string, readonly unknown[]])[] = [
  ['169.254.169.254:80', [null, '169.254.169.254', 80, false, 'not-public', 1]],
  ['10.0.0.5:5432', [null, '10.0.0.5', 5432, false, 'not-public', 1]],
  ['198.18.77.77:443', [null, '198.18.77.77', 443, false, 'not-public', 1]],
  ['1.1.1.1:443', [null, '1.1.1.1', 443, false, 'not-public', 1]],
];

for (const [target, wanted] of refused) {
  test(`${target} is refused and recorded`, async () => {
    await using gateway = await createTestGateway({ ownAddresses: () => ['1.1.1.1'] });
    assert.equal(await gateway.open(target), null);
    assert.deepEqual(gateway.told.map(brief), [wanted]);
  });
}

test('a name that means a private address is not found, and the record says why', async () => {
  await using gateway = await createTestGateway({ resolve: inTurn(['10.0.0.5']) });
  assert.equal(await lookUp(gateway, 'db.test'), 'NXDOMAIN');
  assert.deepEqual(gateway.told.map(brief), [['db.test', '10.0.0.5', null, false, 'not-public', 1]]);
});

test('a name that changes its answer between check and use is checked again: nothing arrives', async () => {
  let connections = 0;
  await using server = await serve(() => {
    connections += 1;
  });
  await using gateway = await createTestGateway({ resolve: inTurn(['93.184.215.14'], ['127.0.0.1']) });
  const address = await lookUp(gateway, 'rebinding.test');
  assert.equal(await gateway.open(`${address}:${server.port}`), null);
  assert.deepEqual(gateway.told.map(brief), [
    ['rebinding.test', '127.0.0.1', server.port, false, 'not-public', 1],
  ]);
  assert.equal(connections, 0);
});

test('a name is dialled at the first of its addresses that answers', async () => {
  await using server = await serve((socket) => void socket.end('hi'));
  await using gateway = await createTestGateway({
    ...rulesOf({ allow: ['127.0.0.0/8', '[::1/128]:1'] }),
    resolve: inTurn(['127.0.0.9', '127.0.0.1']),
  });
  const address = await lookUp(gateway, 'two.test');
  const stream = await gateway.open(`${address}:${server.port}`);
  assert.ok(stream);
  assert.equal(await text(stream), 'hi');
  assert.equal(gateway.told[0]?.address, '127.0.0.1');
});

test('a port where nobody listens is refused at once, and recorded as allowed', async () => {
  let port = 0;
  {
    await using server = await serve(() => undefined);
    port = server.port;
  }
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  assert.equal(await gateway.open(`127.0.0.1:${port}`), null);
  assert.deepEqual(gateway.told.map(brief), [[null, '127.0.0.1', port, true, 'connection-refused', 1]]);
});

test('with network=none every name and every address is refused, opened ones too', async () => {
  await using server = await serve((socket) => void socket.end('hi'));
  await using gateway = await createTestGateway({
    ...rulesOf({ allow: ['127.0.0.0/8'] }),
    network: 'none',
  });
  assert.equal(await lookUp(gateway, 'any.test'), 'NXDOMAIN');
  assert.equal(await gateway.open(`127.0.0.1:${server.port}`), null);
  assert.deepEqual(gateway.told.map(brief), [
    ['any.test', null, null, false, 'network-none', 1],
    [null, '127.0.0.1', server.port, false, 'network-none', 1],
  ]);
});

test('a new lease cuts what was open, and its record begins empty', async () => {
  await using server = await serve((socket) => void socket.write('hi'));
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  const dns = new GuestDns(await gateway.connect());
  await dns.addressOf('first.test');
  const rest = text(stream);
  gateway.gateway.lease({ network: 'none', onDestination: () => undefined });
  await rest;
  assert.deepEqual(gateway.gateway.destinations(), []);
  assert.equal(
    await dns.addressOf('second.test'),
    'NXDOMAIN',
    'the stream for names lives on, under the new rules',
  );
});

test('each side may end its way and still get what comes the other way', async () => {
  const { promise: all, resolve: onAll } = Promise.withResolvers<string>();
  await using server = await serve((socket) => {
    void text(socket).then((seen) => {
      onAll(seen);
      socket.end('after your end');
    });
  });
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const first = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(first);
  first.end('all');
  assert.equal(await all, 'all');
  assert.equal(await text(first), 'after your end');
});

test('an origin that ends first still gets what the guest sends later', async () => {
  const { promise: all, resolve: onAll } = Promise.withResolvers<string>();
  await using server = await serve((socket) => {
    socket.end('bye');
    void text(socket).then(onAll);
  });
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  assert.equal(await text(stream), 'bye');
  stream.end('still here');
  assert.equal(await all, 'still here');
});

test('what a guest sent last arrives although it closes at once', async () => {
  const { promise: all, resolve: onAll } = Promise.withResolvers<number>();
  await using server = await serve((socket) => {
    void sleep(200).then(async () => onAll((await buffer(socket)).length));
  });
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  const bytes = 8 * 1024 * 1024;
  stream.write(Buffer.alloc(bytes), () => stream.destroySoon());
  assert.equal(await all, bytes);
});

test('the reset of an origin ends the stream of the guest', async () => {
  await using server = await serve((socket) => void socket.once('data', () => socket.resetAndDestroy()));
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  stream.write('x');
  await text(stream);
});

test('a guest that reads nothing makes the origin wait: little of 200 MB is held, and all of it arrives', async () => {
  const bytes = 200 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024);
  const origins: Socket[] = [];
  await using server = await serve((socket) => {
    origins.push(socket);
    let sent = 0;
    const more = (): void => {
      while (sent < bytes) {
        sent += chunk.length;
        if (!socket.write(chunk)) return;
      }
      socket.end();
    };
    socket.on('drain', more);
    more();
  });
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(stream);
  for (let seen = -1; seen !== gateway.gateway.destinations()[0]?.bytesIn; await sleep(200))
    seen = gateway.gateway.destinations()[0]?.bytesIn ?? 0;
  // The kernel's buffers on both ways, and one chunk of ours.
  const held = gateway.gateway.destinations()[0]?.bytesIn ?? 0;
  assert.ok(held < 32 * 1024 * 1024, `${held} bytes were taken`);
  let received = 0;
  for await (const part of stream) received += (part as Buffer).length;
  assert.equal(received, bytes);
});

test('300 connections at once each get their own answer', async () => {
  await using server = await serve((socket) => void socket.once('data', (data) => socket.end(data)));
  await using gateway = await createTestGateway(rulesOf({ allow: [`origin.test:${server.port}`] }));
  const address = await lookUp(gateway, 'origin.test');
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const stream = await gateway.open(`${address}:${server.port}`);
      assert.ok(stream);
      stream.write(`number ${index}`);
      assert.equal(await text(stream), `number ${index}`);
    }),
  );
  const [seen] = gateway.gateway.destinations();
  assert.equal(seen?.connections, 300);
  assert.equal(gateway.told.length, 1, 'only the first contact is told');
});

const badOpenings = [
  ['no line', 'x'.repeat(100)],
  ['a name', 'tcp example.org:80\n'],
  ['IPv6', 'tcp [::1]:80\n'],
  ['port 0', 'tcp 1.2.3.4:0\n'],
  ['an old proxy request', 'CONNECT example.org:443 HTTP/1.1\r\n\r\n'],
  ['nothing but an end', ''],
] as const;

for (const [title, bytes] of badOpenings) {
  test(`a stream that begins with ${title} is cut, and nothing is on record`, async () => {
    await using gateway = await createTestGateway();
    const stream = await gateway.connect();
    stream.end(bytes);
    assert.equal(await readSome(stream, 1), '');
    assert.deepEqual(gateway.told, []);
  });
}

test('a first line that comes byte by byte is read, and the bytes behind it belong to the connection', async () => {
  await using server = await serve((socket) => void socket.once('data', (data) => socket.end(data)));
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const stream = await gateway.connect();
  stream.setNoDelay(true);
  for (const byte of `tcp 127.0.0.1:${server.port}`) {
    stream.write(byte);
    await sleep(1);
  }
  stream.write('\nearly');
  assert.equal(await text(stream), 'ok\nearly');
});

test('disposing cuts every stream', async () => {
  await using server = await serve((socket) => void socket.write('hi'));
  await using gateway = await createTestGateway(rulesOf({ allow: ['127.0.0.0/8'] }));
  const open = await gateway.open(`127.0.0.1:${server.port}`);
  assert.ok(open);
  const streams = [open, await gateway.connect(), await gateway.connect()];
  streams[1]?.write('dns\n');
  const closed = streams.map((stream) => once(stream.resume(), 'close'));
  await new GuestDns(await gateway.connect()).addressOf('any.test');
  gateway.gateway[Symbol.dispose]();
  for (const stream of streams) stream.end();
  await Promise.all(closed);
});
