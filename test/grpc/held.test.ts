import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials, status } from '@grpc/grpc-js';
import { Receptions } from '../../src/builds/receptions.ts';
import { BuildServiceClient } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import type { Builds } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import { collectContexts } from '../collect-context.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { context, goesOn, reasonOf, serve, start } from './harness.ts';

const maxAtOnce = 128;
const MiB = 1024 * 1024;

test('more uploads at once than kiln has memory for are refused before they are read (simulated builds)', async () => {
  const receptions = new Receptions();
  let received = 0;
  const receive: Builds['receive'] = (_caller, progress) => {
    received += 1;
    return receptions.enter(progress);
  };
  await using harness = await serve(simulateBuilds({ overrides: { receive } }));
  // One connection has 100 calls at most.
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const other = new BuildServiceClient(`127.0.0.1:${harness.port}`, credentials.createInsecure(), options);
  const begun = Array.from({ length: maxAtOnce }, (_, index) => {
    const call = (index % 2 === 0 ? harness.client : other).build();
    call.on('error', () => undefined);
    return call;
  });
  while (received < maxAtOnce) await sleep(10);

  const refused = harness.client.build();
  refused.resume();
  const [error] = await once(refused, 'error');
  assert.deepEqual([error.code, reasonOf(error)], [status.UNAVAILABLE, 'NO_CAPACITY']);
  for (const call of begun) call.cancel();
  other.close();
});

test('an upload that crawls gives way to one more (simulated builds)', async () => {
  const receptions = new Receptions({ maxAtOnce: 1, graceMs: 50 });
  const { promise: entered, resolve } = Promise.withResolvers<void>();
  const receive: Builds['receive'] = (_caller, progress) => {
    resolve();
    return receptions.enter(progress);
  };
  await using harness = await serve(simulateBuilds({ overrides: { receive } }));
  const crawling = harness.client.build();
  crawling.resume();
  const told = once(crawling, 'error');
  crawling.write(start());
  crawling.write(context(Buffer.alloc(10)));
  await entered;
  await sleep(60);
  const next = harness.client.build();
  next.resume().on('error', () => undefined);
  const [error] = await told;
  assert.deepEqual([error.code, reasonOf(error)], [status.DEADLINE_EXCEEDED, 'UPLOAD_TIMEOUT']);
  assert.match(error.details, /as many as there may be/);
  next.cancel();
});

test('of an upload that is not read only the next message is held (simulated builds)', async () => {
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  const builds = simulateBuilds({
    overrides: {
      stageContexts: async () =>
        collectContexts(async (_name, { bytes }) => {
          await goOn;
          for await (const _chunk of bytes);
          throw new KilnError('ARCHIVE_EMPTY', 'It was read to its end.');
        }),
    },
  });
  await using harness = await serve(builds, { uploadMaxBytes: 1e9 });
  const call = harness.client.build();
  call.resume();
  const refused = once(call, 'error');
  call.write(start());
  let taken = 0;
  const count = (): void => {
    taken += 1;
  };
  for (let chunk = 0; chunk < 12; chunk += 1) call.write(context(Buffer.alloc(2 * MiB)), count);
  for (let before = -1; before < taken; await sleep(300)) before = taken;
  // One that is read, one that is next, one that is on its way.
  assert.ok(taken <= 4, `${taken} of 12 messages of 2 MiB were taken`);
  resolve();
  call.end();
  const [error] = await refused;
  assert.deepEqual([error.code, taken], [status.INVALID_ARGUMENT, 12]);
});

test('more calls at once than kiln has memory for are refused, until one of those before them is over (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds({ script: goesOn }), { maxCalls: 2 });
  const watch = () => {
    const call = harness.client.watchBuild({ id: record.id, logOffset: 0, eventOffset: 0, follow: true });
    call.on('error', () => undefined);
    return call;
  };
  const calls = [watch(), watch()];
  for (const call of calls) await once(call, 'data');
  const refused = watch();
  const [error] = await once(refused, 'error');
  assert.deepEqual([error.code, reasonOf(error)], [status.UNAVAILABLE, 'NO_CAPACITY']);
  calls[0]?.cancel();
  // Until the server knows of it.
  while (!(await isServed(watch())));
  calls[1]?.cancel();
});

function isServed(call: ReturnType<BuildServiceClient['watchBuild']>): Promise<boolean> {
  return new Promise((resolve) => {
    call.once('data', () => resolve(true)).once('error', () => resolve(false));
  });
}
