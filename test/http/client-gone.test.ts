import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchItem } from '../../src/model/event.ts';
import { endless, log, record } from '../simulated-builds.ts';
import { archive, open, serve, waitFor } from './harness.ts';

for (const [title, leave] of [
  ['closes its connection', 'end'],
  ['resets its connection', 'resetAndDestroy'],
] as const) {
  test(`a client that ${title} cancels its build (simulated builds)`, async () => {
    await using harness = await serve({ script: (signal) => endless([log('#1 begun\n')], signal) });
    const head = 'POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n';
    const socket = await open(
      harness,
      Buffer.concat([Buffer.from(`${head}Content-Length: ${archive.length}\r\n\r\n`), archive]),
    );
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await waitFor(() => text.includes('#1 begun'), 'the build says something');
    socket[leave]();
    await harness.builds.firstCancel;
    assert.deepEqual(harness.builds.cancelled, [`${record.id}: The client went away.`]);
    await waitFor(() => harness.logged.some(({ status }) => status === 499), 'it is logged as 499');
    assert.equal(harness.logged.filter(({ level }) => level === 'error').length, 0);
  });
}

test('a client that leaves while its build is being started cancels it (simulated builds)', async () => {
  const starting = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  await using harness = await serve({
    script: (signal) => endless([], signal),
    overrides: {
      async start() {
        starting.resolve();
        await left.promise;
        return record;
      },
    },
  });
  const head = 'POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n';
  const socket = await open(
    harness,
    Buffer.concat([Buffer.from(`${head}Content-Length: ${archive.length}\r\n\r\n`), archive]),
  );
  await starting.promise;
  socket.destroy();
  await sleep(50);
  left.resolve();
  await harness.builds.firstCancel;
});

test('a client that takes nothing is dropped and its build cancelled (simulated builds)', async () => {
  const script = async function* (): AsyncGenerator<WatchItem> {
    for (;;) yield log(Buffer.alloc(1 << 20, 'x'));
  };
  await using harness = await serve({ script, settings: { readerStallMs: 200, keepAliveMs: 20 } });
  const head = 'POST /build HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\n';
  const socket = await open(
    harness,
    Buffer.concat([Buffer.from(`${head}Content-Length: ${archive.length}\r\n\r\n`), archive]),
  );
  socket.pause();
  await harness.builds.firstCancel;
  socket.resume();
  await once(socket, 'close');
});

test('a client with an Idempotency-Key may go away and come back; a key that is none is refused (simulated builds)', async () => {
  await using harness = await serve({ script: (signal) => endless([log('#1 begun\n')], signal) });
  const post = (key: string): Promise<Response> =>
    fetch(`${harness.url}/build`, { method: 'POST', body: archive, headers: { 'Idempotency-Key': key } });
  for (const key of ['"a b"', 'c']) {
    const response = await post(key);
    await response.body?.cancel();
  }
  await waitFor(() => harness.logged.filter(({ status }) => status === 499).length === 2, 'both left');
  assert.deepEqual(harness.builds.cancelled, []);
  assert.deepEqual(
    harness.builds.started.map(({ idempotencyKey }) => idempotencyKey),
    ['a b', 'c'],
  );
  const refused = await post('grün');
  assert.equal(refused.status, 422);
  assert.match(await refused.text(), /"code":"PARAM_INVALID"/);
});
