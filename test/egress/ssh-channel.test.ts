import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import ssh2 from 'ssh2';
import { connectSsh } from '../../src/ssh/connection.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { createTestGateway, openStream, rulesOf, serve, type TestGateway } from './harness.ts';

const wayOut = '/run/kiln/way-out.sock';

/** The gateway behind a real ssh connection: `open` makes a connection on the guest's side of it. */
async function connectGuest({ gateway }: TestGateway) {
  const { privateKey, publicKey } = generateKeyPair();
  const server = new ssh2.Server({ hostKeys: [privateKey], ident: 'OpenSSH_9.2' });
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
  const signal = AbortSignal.timeout(60_000);
  const hostKey = `ssh-ed25519 ${publicKey}`;
  const open = async () => connect(port, '127.0.0.1');
  const ssh = await connectSsh({ open, hostKey, privateKey }, signal);
  await ssh.forwardIn(wayOut, (channel) => gateway.accept(channel), signal);
  const guest = await connected;
  return {
    open: () =>
      new Promise<ssh2.ServerChannel>((resolve, reject) => {
        guest.openssh_forwardOutStreamLocal(wayOut, (error, channel) =>
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

/** An echo that ends with its client, and a gateway that lets guests to it. */
async function openEcho(onSocket: (socket: Socket) => void = (socket) => void socket.pipe(socket)) {
  await using undo = new AsyncDisposableStack();
  const server = undo.use(await serve(onSocket));
  const to = `127.0.0.1:${server.port}`;
  const gateway = undo.use(await createTestGateway(rulesOf({ allow: [to] })));
  const guest = undo.use(await connectGuest(gateway));
  const resources = undo.move();
  return { to, gateway, guest, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

test('a connection goes through an ssh channel, both ways', async () => {
  await using echo = await openEcho(
    (socket) => void socket.once('data', (data) => socket.end(`<${String(data)}>`)),
  );
  const stream = await openStream(await echo.guest.open(), echo.to);
  assert.ok(stream);
  stream.write('anything');
  assert.equal(await text(stream), '<anything>');
});

/** Ways a guest is refused; none may keep its channel. */
const endings: Record<string, string> = {
  'is refused': 'tcp 127.0.0.1:1\n',
  'is refused and goes on sending': `tcp 127.0.0.1:1\n${'x'.repeat(100_000)}`,
  'sends garbage': '\0'.repeat(100_000),
  'asks for names in garbage': `dns\n${'x'.repeat(100_000)}`,
};

for (const [way, bytes] of Object.entries(endings)) {
  test(`a guest that ${way} 100 times over ssh is answered each time`, async () => {
    await using echo = await openEcho();
    const refuse = async (): Promise<void> => {
      const channel = await echo.guest.open();
      channel.write(bytes);
      assert.equal(await text(channel), '');
    };
    for (let batch = 0; batch < 2; batch += 1) await Promise.all(Array.from({ length: 50 }, refuse));
    assert.ok(await openStream(await echo.guest.open(), echo.to));
  });
}

test('an origin that resets ends the channel over ssh', async () => {
  await using echo = await openEcho((socket) => void socket.once('data', () => socket.resetAndDestroy()));
  const stream = await openStream(await echo.guest.open(), echo.to);
  assert.ok(stream);
  stream.write('x');
  assert.equal(await text(stream), '');
});

test('300 connections at once each get their own bytes back', async () => {
  await using echo = await openEcho((socket) => void socket.once('data', (data) => socket.end(data)));
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const stream = await openStream(await echo.guest.open(), echo.to);
      assert.ok(stream);
      stream.write(`number ${index}`);
      assert.equal(await text(stream), `number ${index}`);
    }),
  );
});

test('the end of the ssh connection ends a connection to the outside', async () => {
  const { promise: closed, resolve: onClose } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: onData } = Promise.withResolvers<void>();
  await using server = await serve((socket) => {
    socket.once('data', () => onData());
    socket.once('end', () => socket.end());
    socket.once('close', onClose);
  });
  const to = `127.0.0.1:${server.port}`;
  await using gateway = await createTestGateway(rulesOf({ allow: [to] }));
  {
    await using guest = await connectGuest(gateway);
    const stream = await openStream(await guest.open(), to);
    assert.ok(stream);
    stream.write('x');
    await arrived;
  }
  await closed;
});
