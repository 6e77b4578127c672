import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestDns } from './guest-dns.ts';
import { brief, createTestGateway, inTurn, lookUp, rulesOf, serve } from './harness.ts';

test('a guest that goes away, or has said all, before its origin is there leaves no connection open', async () => {
  const open = new Set<Socket>();
  let seen = 0;
  await using server = await serve((socket) => {
    seen += 1;
    open.add(socket);
    socket.resume().once('close', () => open.delete(socket));
    socket.once('end', () => socket.end('bye'));
  });
  await using gateway = await createTestGateway(rulesOf({ allow: [`127.0.0.1:${server.port}`] }));
  for (let round = 0; round < 20; round += 1) {
    const leaving = await gateway.connect();
    leaving.write(`tcp 127.0.0.1:${server.port}\n`, () => leaving.resetAndDestroy());
    const done = await gateway.connect();
    done.end(`tcp 127.0.0.1:${server.port}\n`);
    assert.equal(await text(done), 'ok\nbye');
    done.destroy();
  }
  while (open.size > 0) await sleep(5);
  assert.ok(seen >= 20);
});

test('lookups under way are bounded for all streams of a guest, also of those that it closed', async () => {
  let underWay = 0;
  let most = 0;
  const chosen = async (): Promise<readonly string[]> => {
    underWay += 1;
    most = Math.max(most, underWay);
    await sleep(20);
    underWay -= 1;
    return ['127.0.0.1'];
  };
  await using gateway = await createTestGateway({ ...rulesOf(), resolve: { set: chosen, chosen } });
  for (let round = 0; round < 5; round += 1) {
    const stream = await gateway.connect();
    const dns = new GuestDns(stream);
    const answers = Array.from({ length: 400 }, (_, at) => dns.addressOf(`n${round}-${at}.test`));
    await Promise.race(answers);
    if (round < 3) stream.destroy();
    else await Promise.all(answers);
  }
  assert.ok(most > 200 && most <= 256, `${most} at once`);
});

test('what is said of IPv4 holds for IPv4 within IPv6', async () => {
  for (const address of ['::ffff:127.0.0.1', '::ffff:7f00:1']) {
    await using gateway = await createTestGateway({
      ...rulesOf({ allow: ['::/0'], deny: ['127.0.0.0/8'] }),
      resolve: inTurn([address]),
    });
    assert.equal(await lookUp(gateway, 'mapped.test'), 'NXDOMAIN');
    assert.deepEqual(gateway.told.map(brief), [['mapped.test', '127.0.0.1', null, false, 'denied', 1]]);
  }
});

test('however many names were refused, what is reached is on record; the rest is counted', async () => {
  await using server = await serve((socket) => void socket.on('data', (data) => socket.end(data)));
  await using gateway = await createTestGateway(
    rulesOf({ allow: [`origin.test:${server.port}`], deny: ['*.denied.test'] }),
  );
  const dns = new GuestDns(await gateway.connect());
  await Promise.all(Array.from({ length: 1010 }, (_, at) => dns.addressOf(`n${at}.denied.test`)));
  const stream = await gateway.open(`${await dns.addressOf('origin.test')}:${server.port}`);
  stream?.end('hello');
  assert.equal(stream && (await text(stream)), 'hello');
  const seen = gateway.gateway.destinations();
  assert.deepEqual(seen.slice(-2).map(brief), [
    [null, null, null, false, null, 10],
    ['origin.test', '127.0.0.1', server.port, true, null, 1],
  ]);
});
