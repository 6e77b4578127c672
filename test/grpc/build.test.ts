import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { BuildState } from '../../src/grpc/generated/kiln/v1/build.ts';
import type { BuildRequest } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { KilnError } from '../../src/model/error.ts';
import { endless, failed, log, record, simulateBuilds } from '../simulated-builds.ts';
import { build, collect, context, goesOn, items, reasonOf, serve, start } from './harness.ts';

test('a build is answered by its record, log and events, the verdict last (simulated builds)', async () => {
  const builds = simulateBuilds({ script: items });
  await using harness = await serve(builds);
  const chunks = [Buffer.alloc(200_000, 1), Buffer.alloc(0), Buffer.from([2])];

  const answers = await build(harness.client.build(), [start(), ...chunks.map((chunk) => context(chunk))]);

  assert.deepEqual(
    answers.map(({ part }) => part?.$case),
    ['accepted', 'event', 'log', 'event'],
  );
  const [accepted, , log, verdict] = answers.map(({ part }) => part);
  assert.ok(accepted?.$case === 'accepted' && log?.$case === 'log' && verdict?.$case === 'event');
  assert.equal(accepted.value.id, record.id);
  assert.equal(accepted.value.times?.leased?.toISOString(), record.times.leased);
  assert.equal(accepted.value.times?.finished, undefined);
  assert.equal(Buffer.from(log.value.data).toString(), '#1 [internal] load\n');
  assert.deepEqual(verdict.value.kind, {
    $case: 'verdict',
    value: {
      ...{ state: BuildState.BUILD_STATE_FAILED, exitCode: 1, code: undefined, message: failed.message },
      failureClass: 'USER_ERROR',
    },
  });
  assert.deepEqual(builds.staged, [Buffer.concat(chunks)]);
  assert.deepEqual(builds.cancelled, []);
});

test('a Dockerfile alone builds without a context (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  await build(harness.client.build(), [start({ dockerfile: 'FROM scratch\n' })]);
  assert.equal(builds.started[0]?.context, null);
  assert.equal(builds.started[0]?.dockerfile?.toString(), 'FROM scratch\n');
});

test('a Dockerfile of 1 MiB and build arguments of 1 MiB fit into a start (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  const dockerfile = 'FROM scratch\n'.padEnd(1024 * 1024, '#');
  await build(harness.client.build(), [start({ dockerfile, buildArgs: 16, valueBytes: 64 * 1024 - 16 })]);
  assert.equal(builds.started[0]?.dockerfile?.length, 1024 * 1024);
  assert.equal(Object.keys(builds.started[0]?.spec.buildArgs ?? {}).length, 16);
});

const refusals: readonly { what: string; requests: readonly BuildRequest[]; code: status; reason: string }[] =
  [
    { what: 'no message', requests: [], code: status.INVALID_ARGUMENT, reason: 'STREAM_PROTOCOL' },
    {
      what: 'an empty message',
      requests: [{ part: undefined }],
      code: status.INVALID_ARGUMENT,
      reason: 'STREAM_PROTOCOL',
    },
    {
      what: 'bytes before the start',
      requests: [context('x')],
      code: status.INVALID_ARGUMENT,
      reason: 'STREAM_PROTOCOL',
    },
    {
      what: 'two starts',
      requests: [start(), start()],
      code: status.INVALID_ARGUMENT,
      reason: 'STREAM_PROTOCOL',
    },
    {
      what: 'neither context nor Dockerfile',
      requests: [start()],
      code: status.INVALID_ARGUMENT,
      reason: 'FILE_MISSING',
    },
    {
      what: 'an upload over the limit',
      requests: [start(), context(Buffer.alloc(600_000)), context(Buffer.alloc(600_000))],
      code: status.RESOURCE_EXHAUSTED,
      reason: 'UPLOAD_TOO_LARGE',
    },
    {
      what: 'a start with more than 1 MiB of build arguments',
      requests: [start({ buildArgs: 17, valueBytes: 64 * 1024 }), context('x')],
      code: status.INVALID_ARGUMENT,
      reason: 'PARAM_INVALID',
    },
    // grpc-js itself refuses this one, so there is no code of ours.
    {
      what: 'a message over 3.5 MiB',
      requests: [start(), context(Buffer.alloc(3.5 * 1024 * 1024 + 1))],
      code: status.RESOURCE_EXHAUSTED,
      reason: '',
    },
  ];

for (const { what, requests, code, reason } of refusals) {
  test(`${what} is refused with ${status[code]} ${reason} (simulated builds)`, async () => {
    const builds = simulateBuilds();
    await using harness = await serve(builds);
    await assert.rejects(build(harness.client.build(), requests), (error: { code?: status }) => {
      assert.equal(error.code, code);
      assert.equal(reasonOf(error), reason);
      return true;
    });
    assert.deepEqual(builds.started, []);
  });
}

test('fifty thousand small chunks are one context (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  const call = harness.client.build();
  call.write(start());
  // Not of one byte each: on a busy machine that would be slower than any upload may be.
  const chunk = context('x'.repeat(16));
  for (let count = 0; count < 50_000; count += 1) {
    if (!call.write(chunk)) await once(call, 'drain');
  }
  call.end();
  call.resume();
  await once(call, 'end');
  assert.equal(builds.staged[0]?.length, 16 * 50_000);
});

test('an upload that stalls ends with UPLOAD_TIMEOUT (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds(), { stallMs: 50 });
  const call = harness.client.build();
  call.write(start());
  call.write(context('x'));
  call.resume();
  const [error] = await once(call, 'error');
  assert.equal(error.code, status.DEADLINE_EXCEEDED);
  assert.equal(reasonOf(error), 'UPLOAD_TIMEOUT');
});

test('a client that cancels the call cancels its build (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds);
  const call = harness.client.build();
  call.on('error', () => undefined);
  call.write(start());
  call.end(context('x'));
  await once(call, 'data');
  call.cancel();
  await builds.firstCancel;
  assert.deepEqual(builds.cancelled, [`${record.id}: The client went away.`]);
});

test('a client that cancels the call of a detached build leaves the build alone (simulated builds)', async () => {
  const { promise: watchEnded, resolve } = Promise.withResolvers<void>();
  const builds = simulateBuilds({
    script(signal) {
      signal.addEventListener('abort', () => setImmediate(resolve));
      return endless([log('#1 waiting\n')], signal);
    },
  });
  await using harness = await serve(builds);
  const call = harness.client.build();
  call.on('error', () => undefined);
  call.write(start({ detach: true }));
  call.end(context('x'));
  await once(call, 'data');
  call.cancel();
  await watchEnded;
  assert.deepEqual(builds.cancelled, []);
});

test('the deadline of the call cancels its build (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds);
  const call = harness.client.build({ deadline: Date.now() + 300 });
  await assert.rejects(build(call, [start(), context('x')]), { code: status.DEADLINE_EXCEEDED });
  await builds.firstCancel;
});

test('a call without a deadline ends at the maximum of the server (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds, { maxCallMs: 100 });
  await assert.rejects(build(harness.client.build(), [start(), context('x')]), (error) => {
    assert.equal(reasonOf(error), 'TIMEOUT');
    return true;
  });
  await builds.firstCancel;
});

test('a start that cannot be built is refused before its context is read (simulated builds)', async () => {
  const stageContexts = (): never => assert.fail('it was read');
  await using harness = await serve(simulateBuilds({ overrides: { stageContexts } }));
  const call = harness.client.build();
  call.write(start({ entry: 'buildkit-v0.1.0' }));
  call.write(context('x'));
  // The client has not sent the end of its context yet.
  await assert.rejects(collect(call), (error) => {
    assert.equal(reasonOf(error), 'BUILDKIT_UNKNOWN');
    return true;
  });
});

test('an error of staging reaches the client and starts nothing (simulated builds)', async () => {
  const stageContexts = async (): Promise<never> => {
    throw new KilnError('ENTRY_ESCAPES', "Archive entry '../x' leads out of the context.");
  };
  const builds = simulateBuilds({ overrides: { stageContexts } });
  await using harness = await serve(builds);
  await assert.rejects(build(harness.client.build(), [start(), context('x')]), (error) => {
    assert.equal(reasonOf(error), 'ENTRY_ESCAPES');
    return true;
  });
  assert.deepEqual(builds.started, []);
});
