import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { EgressLimits, type EgressRoom, planEgress } from '../../src/egress/egress-limits.ts';
import { createTestGateway, readSome, rulesOf, serve } from './harness.ts';

const GiB = 1024 ** 3;

/** For two guests 16 connections in all, half of them for anyone. */
const small: EgressRoom = { openFiles: 80, memoryBytes: GiB, guests: 2 };

test('connections of all guests are bounded; a guest that takes all it can leaves others theirs, and each that waits has its turn', async () => {
  const open = new Set<Socket>();
  let most = 0;
  await using server = await serve((socket) => {
    open.add(socket);
    most = Math.max(most, open.size);
    socket.once('close', () => open.delete(socket));
    socket.on('data', (data) => socket.write(data));
    socket.on('end', () => socket.end());
  });
  const { sockets } = planEgress(small);
  const limits = new EgressLimits(small);
  const target = `127.0.0.1:${server.port}`;
  await using greedy = await createTestGateway({ ...rulesOf({ allow: [target] }), limits });
  await using modest = await createTestGateway({ ...rulesOf({ allow: [target] }), limits });
  const waiting = new Set(Array.from({ length: 3 * sockets }, () => greedy.open(target)));
  while (open.size < Math.floor(sockets * 0.75)) await sleep(5);
  const stream = await modest.open(target);
  stream?.write('through');
  assert.equal(stream && (await readSome(stream, 7)), 'through');
  // Each that ends lets one that waits in.
  while (waiting.size > 0) {
    const next = await Promise.race(
      [...waiting].map(async (opening) => ({ opening, stream: await opening })),
    );
    waiting.delete(next.opening);
    assert.ok(next.stream, 'none is refused');
    next.stream.end('x');
    assert.equal(await readSome(next.stream, 2), 'x');
    next.stream.destroy();
  }
  assert.ok(most <= sockets, `${most} at once`);
});

test('connections that wait and go leave the line', async () => {
  await using server = await serve((socket) => void socket.resume().on('end', () => socket.end()));
  const limits = new EgressLimits(small);
  const target = `127.0.0.1:${server.port}`;
  await using gateway = await createTestGateway({ ...rulesOf({ allow: [target] }), limits });
  const opened = await Promise.all(Array.from({ length: 12 }, () => gateway.open(target)));
  for (let round = 0; round < 50; round += 1) {
    const [guest, leaving] = duplexPair();
    gateway.gateway.accept(leaving);
    guest.write(`tcp ${target}\n`);
    await turn();
    leaving.destroy();
    await once(leaving, 'close');
  }
  const last = gateway.open(target);
  opened[0]?.destroy();
  assert.ok(await last);
  assert.equal(gateway.gateway.destinations()[0]?.connections, 13);
});

test('there are fewer connections where files or memory are few, and never more than a guest may have', () => {
  const plan = (room: Partial<EgressRoom>) =>
    planEgress({ openFiles: 1e6, memoryBytes: 64 * GiB, guests: 4, ...room });
  assert.deepEqual(plan({}), { sockets: 8192, questions: 1024 });
  assert.deepEqual(plan({ guests: 1 }), { sockets: 4096, questions: 256 });
  assert.deepEqual(plan({ memoryBytes: 2 * GiB }), { sockets: 1024, questions: 1024 });
  assert.deepEqual(plan({ openFiles: 4096 }), { sockets: 768, questions: 256 });
  assert.deepEqual(plan({ openFiles: 1024 }), { sockets: 192, questions: 64 });
});
