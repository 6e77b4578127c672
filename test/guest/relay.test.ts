import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEgressPolicy } from '../../src/egress/egress-policy.ts';
import { createEgressGateway, type EgressGateway } from '../../src/egress/gateway.ts';
import { roomForAll, rulesOf, serve } from '../egress/harness.ts';
import type { Listening } from '../listen.ts';
import { createGuestNetwork, type Place } from './namespaces.ts';

const places: readonly Place[] = ['vm', 'step'];

/** Answers each piece with `<piece>`, and once the other end has said all, with a full stop. */
function echo(): Promise<Listening> {
  return serve((socket) => {
    socket.on('data', (data) => socket.write(`<${data.toString()}>`));
    socket.on('end', () => socket.end('.'));
  });
}

/** A gateway whose every name is this machine, where only `ports` are open. */
function gatewayTo(...ports: number[]): EgressGateway {
  const resolve = async (name: string): Promise<string[] | null> =>
    name.endsWith('.test') ? ['127.0.0.1'] : null;
  const policy = createEgressPolicy({
    ...rulesOf({ allow: ports.map((port) => `origin.test:${port}`) }),
    ...{ mirrors: [], resolve: { set: resolve, chosen: resolve } },
  });
  const gateway = createEgressGateway({ policy, limits: roomForAll() });
  gateway.lease({ network: 'default', onDestination: () => undefined });
  return gateway;
}

/** Prints the code of whatever fails. */
const connectScript = (host: string, port: number, then: string): string => `
  import { connect } from 'node:net';
  const socket = connect({ host: ${JSON.stringify(host)}, port: ${port}, allowHalfOpen: true });
  socket.on('error', (error) => { console.log(error.code); process.exit(); });
  socket.once('connect', () => { ${then} });`;

const sayHello = `socket.end('hello'); socket.on('data', (data) => process.stdout.write(data));`;

for (const place of places) {
  test(`${place}: a connection reaches its server by name; what its server says after the guest's end arrives`, async () => {
    await using server = await echo();
    await using guest = await createGuestNetwork(gatewayTo(server.port));
    assert.equal(await guest.run(place, connectScript('origin.test', server.port, sayHello)), '<hello>.');
  });

  test(`${place}: connect() tells what is there: a port that nobody listens on is refused, and so is what kiln refuses`, async () => {
    const closed = await echo();
    await closed[Symbol.asyncDispose]();
    const gateway = gatewayTo(closed.port);
    await using guest = await createGuestNetwork(gateway);
    const never = 'console.log("connected"); process.exit();';
    for (const [host, port] of [
      ['origin.test', closed.port],
      ['origin.test', closed.port === 80 ? 81 : 80],
      ['10.0.0.5', 5432],
      ['169.254.169.254', 80],
      ['10.0.2.2', 22],
    ] as const) {
      assert.equal(
        await guest.run(place, connectScript(host, port, never)),
        'ECONNREFUSED',
        `${host}:${port}`,
      );
    }
    assert.deepEqual(
      gateway.destinations().map(({ reason, connections }) => [reason, connections]),
      [
        ['connection-refused', 1],
        ['not-public', 1],
        ['not-public', 1],
        ['not-public', 1],
        ['not-public', 1],
      ],
    );
  });

  test(`${place}: names are answered whichever server is asked, over UDP and TCP; one that is not there is not there`, async () => {
    await using guest = await createGuestNetwork(gatewayTo(80));
    const out = await guest.run(
      place,
      `import { Resolver } from 'node:dns/promises';
       const seen = [];
       for (const server of ['10.0.2.3', '8.8.8.8', '1.1.1.1']) {
         const resolver = new Resolver({ timeout: 5000, tries: 1 });
         resolver.setServers([server]);
         seen.push(...(await resolver.resolve4('origin.test')), await resolver.resolve4('nobody.example').catch((e) => e.code));
       }
       import { connect } from 'node:net';
       import { once } from 'node:events';
       const socket = connect(53, '9.9.9.9');
       const query = Buffer.from('123401000001000000000000' + '066f726967696e' + '0474657374' + '0000010001', 'hex');
       socket.write(Buffer.concat([Buffer.from([0, query.length]), query]));
       const [answer] = await once(socket, 'data');
       seen.push(answer.subarray(-4).join('.'));
       socket.destroy();
       console.log(seen.join(' '));`,
    );
    const [first = '', missing] = out.split(' ');
    assert.match(first, /^198\.1[89]\./);
    assert.equal(missing, 'ENOTFOUND');
    assert.deepEqual(out.split(' '), [first, missing, first, missing, first, missing, first]);
  });

  test(`${place}: other UDP is refused at once`, async () => {
    await using guest = await createGuestNetwork(gatewayTo());
    const out = await guest.run(
      place,
      `import { createSocket } from 'node:dgram';
       const socket = createSocket('udp4');
       socket.once('error', (error) => { console.log(error.code); process.exit(); });
       socket.connect(443, '8.8.8.8', (error) => {
         if (error) { console.log(error.code); process.exit(); }
         socket.send('hello', () => undefined);
       });`,
    );
    assert.match(out, /^(ENETUNREACH|ECONNREFUSED)$/);
  });

  test(`${place}: a reset by the server is a reset`, async () => {
    await using server = await serve((socket) => void socket.once('data', () => socket.resetAndDestroy()));
    await using guest = await createGuestNetwork(gatewayTo(server.port));
    const wait = `socket.write('x'); socket.resume(); socket.once('end', () => { console.log('end'); process.exit(); });`;
    assert.equal(await guest.run(place, connectScript('origin.test', server.port, wait)), 'ECONNRESET');
  });

  test(`${place}: 1000 connections are open at once, each with its own server`, async () => {
    await using server = await echo();
    await using guest = await createGuestNetwork(gatewayTo(server.port));
    const out = await guest.run(place, manyScript(server.port, 1000));
    assert.equal(out, '1000 open, 1000 right');
  });
}

/** Opens all before any says a word. */
function manyScript(port: number, count: number): string {
  return `
    import { connect } from 'node:net';
    import { once } from 'node:events';
    import { lookup } from 'node:dns/promises';
    const { address } = await lookup('origin.test');
    const sockets = await Promise.all(Array.from({ length: ${count} }, async () => {
      const socket = connect({ host: address, port: ${port}, allowHalfOpen: true });
      await once(socket, 'connect');
      return socket;
    }));
    const right = await Promise.all(sockets.map(async (socket, index) => {
      socket.setEncoding('utf8');
      let text = '';
      socket.on('data', (piece) => { text += piece; });
      socket.end(String(index));
      await once(socket, 'end');
      return text === '<' + index + '>.';
    }));
    console.log(sockets.length + ' open, ' + right.filter(Boolean).length + ' right');
    process.exit();`;
}

const listenOn = (port: number): string => `
  import { createServer } from 'node:net';
  createServer((socket) => socket.end('own')).listen(${port}, () => console.log('listening'));`;
const readAll = `socket.on('data', (data) => process.stdout.write(data)); socket.on('end', () => process.exit());`;

test('a step reaches its own servers, and nothing of the VM; the VM its own', async () => {
  const gateway = gatewayTo();
  await using guest = await createGuestNetwork(gateway);
  using _vm = await guest.start('vm', listenOn(2222));
  using _step = await guest.start('step', listenOn(2222));
  for (const host of ['127.0.0.1', 'localhost', '172.30.0.2'])
    assert.equal(await guest.run('step', connectScript(host, 2222, readAll)), 'own', host);
  for (const host of ['127.0.0.1', '10.0.2.15'])
    assert.equal(await guest.run('vm', connectScript(host, 2222, readAll)), 'own', host);
  for (const host of ['172.30.0.1', '10.0.2.15'])
    assert.equal(await guest.run('step', connectScript(host, 2222, readAll)), 'ECONNREFUSED', host);
  assert.deepEqual(gateway.destinations(), [], 'nothing of that left the VM');
  const families = `import { networkInterfaces } from 'node:os';
    console.log((networkInterfaces().kiln0 ?? []).map(({ family }) => family).join());`;
  assert.equal(await guest.run('vm', families), 'IPv4', 'the VM has no address that the rules do not know');
  assert.equal(await guest.run('step', connectScript('2001:db8::1', 80, readAll)), 'ENETUNREACH');
});

test('where kiln does not serve the way out, connections are refused and names fail, at once', async () => {
  await using guest = await createGuestNetwork(null);
  const out = await guest.run(
    'step',
    `import { lookup } from 'node:dns/promises';
     console.log(await lookup('origin.test').catch((error) => error.code));`,
  );
  assert.equal(out, 'EAI_AGAIN');
  assert.equal(await guest.run('step', connectScript('8.8.8.8', 80, readAll)), 'ECONNREFUSED');
});

test('without a relay everything is refused at once; one that is started again serves on', async () => {
  await using server = await echo();
  await using guest = await createGuestNetwork(gatewayTo(server.port));
  const hello = (): Promise<string> => guest.run('step', connectScript('origin.test', server.port, sayHello));
  assert.equal(await hello(), '<hello>.');
  await guest.endRelay();
  for (const place of places)
    assert.equal(await guest.run(place, connectScript('198.18.0.1', 80, readAll)), 'ECONNREFUSED', place);
  await guest.startRelay();
  assert.equal(await hello(), '<hello>.');
});

test('a slow server makes who connects wait, and nobody else', async () => {
  const gateway = gatewayTo();
  const slow = Promise.withResolvers<void>();
  // A gateway whose first stream stays unanswered, as where a server is silent.
  let first = true;
  const held: EgressGateway = {
    ...gateway,
    accept(stream) {
      if (!first) return gateway.accept(stream);
      first = false;
      void slow.promise.then(() => gateway.accept(stream));
    },
  };
  await using guest = await createGuestNetwork(held);
  using waiting = await guest.start('step', `console.log('begins'); ${connectScript('198.18.0.2', 443, '')}`);
  const other = connectScript('198.18.0.1', 443, 'console.log("connected"); process.exit();');
  assert.equal(await guest.run('step', other), 'ECONNREFUSED');
  assert.equal(waiting.printed(), 'begins\n');
  slow.resolve();
  await waiting.ended;
  assert.equal(waiting.printed(), 'begins\nECONNREFUSED\n');
});
