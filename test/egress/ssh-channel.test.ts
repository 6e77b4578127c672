import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { connectSsh } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { createTestProxy, readUntil, serve, type TestProxy } from './harness.ts';

/** The proxy behind a real ssh connection: `open` makes a connection on the guest's side of it. */
async function connectGuest({ proxy }: TestProxy) {
  const { privateKey, publicKey } = generateKeyPair();
  const server = new ssh2.Server({ hostKeys: [privateKey] });
  const { promise: connected, resolve: onConnected } = Promise.withResolvers<ssh2.Connection>();
  server.on('connection', (connection) => {
    connection.on('error', () => undefined);
    connection.on('authentication', (context) => context.accept());
    connection.on('request', (accept) => accept?.());
    connection.once('ready', () => onConnected(connection));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const signal = AbortSignal.timeout(10_000);
  const hostKey = `ssh-ed25519 ${publicKey}`;
  const ssh = await connectSsh({ port, hostKey, privateKey }, signal);
  await ssh.forwardIn(3128, (channel) => proxy.accept(channel), signal);
  const guest = await connected;
  return {
    open: () =>
      new Promise<ssh2.ServerChannel>((resolve, reject) => {
        guest.forwardOut('127.0.0.1', 3128, '127.0.0.1', 40_000, (error, channel) =>
          error ? reject(error) : resolve(channel),
        );
      }),
    async [Symbol.asyncDispose]() {
      await ssh[Symbol.asyncDispose]();
      server.close();
      await once(server, 'close');
    },
  };
}

function serveEcho() {
  return serve((socket) => socket.pipe(socket));
}

test('a request and a tunnel go through an ssh channel', async () => {
  await using server = await serve((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'));
  });
  using proxy = createTestProxy([server.port]);
  await using guest = await connectGuest(proxy);
  const request = await guest.open();
  request.write(`GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  assert.match(await text(request), /200 OK[\s\S]*hi/);
  const tunnel = await guest.open();
  tunnel.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await readUntil(tunnel, '\r\n\r\n');
  tunnel.write('anything');
  assert.match(await text(tunnel), /hi$/);
});

/** Ways a guest ends or is ended; none may keep its connection. */
const endings: Record<string, string> = {
  'is refused': 'CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n',
  'is refused and goes on sending': `CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n${'x'.repeat(100_000)}`,
  'is refused with a body unread': `PUT http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n${'x'.repeat(300_000)}`,
  'sends garbage': '\0'.repeat(100_000),
};

for (const [way, bytes] of Object.entries(endings)) {
  test(`a guest that ${way} 200 times over ssh is answered each time`, async () => {
    await using server = await serveEcho();
    using proxy = createTestProxy([server.port]);
    await using guest = await connectGuest(proxy);
    const refuse = async (): Promise<void> => {
      const channel = await guest.open();
      channel.write(bytes);
      assert.match(await text(channel), way === 'sends garbage' ? /^$/ : /^HTTP\/1.1 403 /);
    };
    for (let batch = 0; batch < 10; batch += 1) await Promise.all(Array.from({ length: 20 }, refuse));
    const channel = await guest.open();
    channel.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.match(await readUntil(channel, '\r\n\r\n'), / 200 /);
  });
}

test('a tunnel whose origin goes away ends over ssh', async () => {
  await using server = await serve((socket) => void socket.once('data', () => socket.resetAndDestroy()));
  using proxy = createTestProxy([server.port]);
  await using guest = await connectGuest(proxy);
  const channel = await guest.open();
  channel.write(`CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await readUntil(channel, '\r\n\r\n');
  channel.write('x');
  assert.equal(await text(channel), '');
});

for (const way of ['a tunnel', 'a plain request']) {
  test(`the end of the ssh connection ends ${way} to the outside`, async () => {
    const { promise: arrived, resolve: onData } = Promise.withResolvers<void>();
    const { promise: closed, resolve: onClose } = Promise.withResolvers<void>();
    await using server = await serve((socket) => {
      socket.once('data', () => onData());
      socket.once('end', () => socket.end());
      socket.once('close', onClose);
    });
    using proxy = createTestProxy([server.port]);
    {
      await using guest = await connectGuest(proxy);
      const channel = await guest.open();
      channel.write(
        way === 'a tunnel'
          ? `CONNECT origin.test:${server.port} HTTP/1.1\r\nHost: a\r\n\r\nx`
          : `GET http://origin.test:${server.port}/ HTTP/1.1\r\nHost: a\r\n\r\n`,
      );
      await arrived;
    }
    await closed;
  });
}
