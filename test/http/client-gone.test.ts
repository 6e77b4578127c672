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
