import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ClientReadableStream, credentials, makeClientConstructor, status } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { createConnections } from '../../src/grpc/connections.ts';
import { Network, StepNetwork } from '../../src/grpc/generated/kiln/v1/build.ts';
import type { GetBuildResponse } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import type { Builds } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import type { WatchItem } from '../../src/model/event.ts';
import { digest, log, record, simulateBuilds, succeeded, verdict } from '../simulated-builds.ts';
import { readiness } from '../simulated-service.ts';
import { collect, context, goesOn, type Harness, items, reasonOf, serve, start } from './harness.ts';

const buf = join(import.meta.dirname, '../../node_modules/.bin/buf');

test('GetBuild shows the record in the words of the protocol (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds({ script: goesOn }));
  const { build } = await getBuild(harness, record.id);
  assert.ok(build);
  assert.deepEqual(build.spec?.buildArgs, [{ name: 'A', value: '1' }]);
  assert.deepEqual(build.entry?.versions, [
    { name: 'buildkit', value: 'v0.20.2' },
    { name: 'runc', value: '1.2.5' },
  ]);
  assert.deepEqual(build.artifact, { format: 3, digest, size: 11 });
  assert.deepEqual(build.context?.warnings, record.context?.warnings);
  assert.deepEqual(build.egress, [
    {
      ...{ name: 'db.lan', address: '10.0.0.5', port: 5432, announced: undefined },
      ...{ allowed: false, reason: 'not-public', connections: 2, bytesIn: 0, bytesOut: 0 },
    },
  ]);
  assert.equal(build.verdict, undefined);
  assert.equal(build.vm?.network, StepNetwork.STEP_NETWORK_VM);
  assert.equal(build.spec?.network, Network.NETWORK_DEFAULT);
});

test('an error of the use-cases arrives with its code, and is not logged as ours (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  await assert.rejects(getBuild(harness, 'unknown'), (error: { code?: status }) => {
    assert.equal(error.code, status.NOT_FOUND);
    assert.equal(reasonOf(error), 'NOT_FOUND');
    return true;
  });
  assert.deepEqual(harness.errors, []);
});

test('an unknown error says nothing outside and everything in the log (simulated builds)', async () => {
  const cause = new Error('password is 1234');
  const builds = simulateBuilds({ overrides: { get: () => Promise.reject(cause) } });
  await using harness = await serve(builds);
  await assert.rejects(getBuild(harness, record.id), { code: status.INTERNAL, details: 'internal error' });
  const [logged] = harness.errors;
  assert.ok(logged && 'error' in logged && logged.error instanceof KilnError);
  assert.equal(logged.error.cause, cause);
});

test('a disk that is full is our fault, too: its cause is logged (simulated builds)', async () => {
  const cause = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  const builds = simulateBuilds({ overrides: { get: () => Promise.reject(cause) } });
  await using harness = await serve(builds);
  await assert.rejects(getBuild(harness, record.id), { code: status.RESOURCE_EXHAUSTED });
  const [logged] = harness.errors;
  assert.ok(logged && 'error' in logged && logged.error instanceof KilnError);
  assert.equal(logged.error.cause, cause);
});

test('an address that cannot be listened on is told with the setting that changes it (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const other = createConnections(() => undefined, { maxConnections: 1, tls: null });
  await assert.rejects(other.listen({ host: '127.0.0.1', port: harness.port }), {
    code: 'CONFIG_INVALID',
    message: /^Cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE.*Set KILN_GRPC_LISTEN to another address\.$/,
  });
});

test('CancelBuild hands on the reason (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds);
  const { client } = harness;
  await new Promise((resolve) => client.cancelBuild({ id: record.id, reason: 'enough' }, resolve));
  assert.deepEqual(builds.cancelled, [`${record.id}: enough`]);
});

test('WatchBuild passes its offsets on and sends log and events (simulated builds)', async () => {
  const asked: object[] = [];
  const watch: Builds['watch'] = async (_caller, id, { logOffset, eventOffset, follow }) => {
    asked.push({ id, logOffset, eventOffset, follow });
    return (async function* () {
      yield* items;
    })();
  };
  const builds = simulateBuilds({ overrides: { watch } });
  await using harness = await serve(builds);
  const request = { id: record.id, logOffset: 5, eventOffset: 7, follow: true };
  const parts = await collect(harness.client.watchBuild(request));
  assert.deepEqual(asked, [request]);
  assert.deepEqual(
    parts.map(({ part }) => [part?.$case, part?.value.offset]),
    [
      ['event', 40],
      ['log', 0],
      ['event', 90],
    ],
  );
});

test('DownloadArtifact sends what it is, then its bytes (simulated builds)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-grpc-'));
  try {
    const path = join(directory, 'artifact');
    const bytes = Buffer.from(Array.from({ length: 700_000 }, (_, index) => index % 251));
    await writeFile(path, bytes);
    const artifact = { format: 'docker', digest, size: bytes.length } as const;
    await using harness = await serve(
      simulateBuilds({ overrides: { artifact: async () => ({ artifact, path }) } }),
    );
    const [first, ...rest] = await collect(harness.client.downloadArtifact({ id: record.id }));
    assert.deepEqual(first?.part, { $case: 'artifact', value: { ...artifact, format: 2 } });
    const chunks = rest.map(({ part }) => (part?.$case === 'chunk' ? part.value : Buffer.alloc(0)));
    assert.ok(Buffer.concat(chunks).equals(bytes));
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('an artifact that was removed before it was opened is NOT_FOUND, and nothing is sent of it (simulated builds)', async () => {
  const artifact = { format: 'docker', digest, size: 1 } as const;
  const overrides = { artifact: async () => ({ artifact, path: '/nowhere/artifact' }) };
  await using harness = await serve(simulateBuilds({ overrides }));
  const call = harness.client.downloadArtifact({ id: record.id });
  let sent = 0;
  call.on('data', () => {
    sent += 1;
  });
  const [error] = await once(call, 'error');
  assert.deepEqual([error.code, reasonOf(error), sent], [status.NOT_FOUND, 'GONE', 0]);
  assert.deepEqual(harness.errors, []);
});

test('health follows whether a build can run (simulated builds)', async () => {
  let ready = false;
  await using harness = await serve(simulateBuilds({ overrides: { readiness: () => readiness(ready) } }));
  const Health = makeClientConstructor(healthService, 'grpc.health.v1.Health');
  const client = new Health(`127.0.0.1:${harness.port}`, credentials.createInsecure());
  const watch = client['watch']?.({ service: 'kiln.v1.BuildService' }) as ClientReadableStream<{
    status: string;
  }>;
  watch.on('error', () => undefined);
  const [before] = await once(watch, 'data');
  assert.equal(before.status, 'NOT_SERVING');
  ready = true;
  const [after] = await once(watch, 'data');
  assert.equal(after.status, 'SERVING');
  watch.cancel();
  client.close();
});

test('a client that has no copy of the protocol can list and call it (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const url = `http://127.0.0.1:${harness.port}`;
  const run = promisify(execFile);
  const curl = ['curl', '--http2-prior-knowledge', '--protocol', 'grpc'];
  const listed = await run(buf, [...curl, '--list-methods', url]);
  assert.deepEqual(listed.stdout.trim().split('\n').sort(), [
    'grpc.health.v1.Health/Check',
    'grpc.health.v1.Health/List',
    'grpc.health.v1.Health/Watch',
    'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    'grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    'kiln.v1.BuildService/Build',
    'kiln.v1.BuildService/CancelBuild',
    'kiln.v1.BuildService/CancelMatrix',
    'kiln.v1.BuildService/DownloadArtifact',
    'kiln.v1.BuildService/GetBuild',
    'kiln.v1.BuildService/GetMatrix',
    'kiln.v1.BuildService/ListBuilds',
    'kiln.v1.BuildService/WatchBuild',
    'kiln.v1.ImageService/CancelOperation',
    'kiln.v1.ImageService/GetOperation',
    'kiln.v1.ImageService/ListEntries',
    'kiln.v1.ImageService/ListOperations',
    'kiln.v1.ImageService/PruneImages',
    'kiln.v1.ImageService/RebuildImage',
    'kiln.v1.ImageService/ResumeOperation',
    'kiln.v1.ImageService/RollBackImage',
    'kiln.v1.ImageService/WatchOperation',
  ]);
  const called = await run(buf, [
    ...[...curl, '--data', JSON.stringify({ id: record.id })],
    `${url}/kiln.v1.BuildService/GetBuild`,
  ]);
  assert.equal(JSON.parse(called.stdout).build.times.leased, '2026-11-23T10:00:01.500Z');
  const healthy = await run(buf, [...curl, '--data', '{}', `${url}/grpc.health.v1.Health/Check`]);
  assert.deepEqual(JSON.parse(healthy.stdout), { status: 'SERVING' });
});

test('closing ends running calls after the grace period and leaves no connection (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds);
  const call = harness.client.watchBuild({ id: record.id, logOffset: 0, eventOffset: 0, follow: true });
  const failed = once(call, 'error');
  await once(call, 'data');
  await harness.server.close(50);
  const [error] = await failed;
  assert.equal(reasonOf(error), 'DRAINING');
  await assert.rejects(getBuild(harness, record.id), { code: status.UNAVAILABLE });
});

for (const [method, call] of [
  [
    'WatchBuild',
    ({ client }: Harness) => client.watchBuild({ id: record.id, logOffset: 0, eventOffset: 0, follow: true }),
  ],
  [
    'Build',
    ({ client }: Harness) => {
      const call = client.build();
      call.write(start());
      call.end(context('x'));
      return call;
    },
  ],
] as const) {
  test(`a slow reader of ${method} gets the verdict of a build that ends as the service stops (simulated builds)`, async () => {
    const ended = Promise.withResolvers<void>();
    const builds = simulateBuilds({
      async *script(): AsyncGenerator<WatchItem> {
        for (let count = 0; count < 40; count += 1) yield log(Buffer.alloc(64 * 1024));
        await ended.promise;
        yield verdict(succeeded);
      },
    });
    await using harness = await serve(builds);
    const parts: string[] = [];
    const answers: AsyncIterator<{ part?: { $case: string } | undefined }> =
      call(harness)[Symbol.asyncIterator]();
    await answers.next();
    // Most of the log still waits for its reader.
    ended.resolve();
    const closed = harness.server.close();
    for (let next = await answers.next(); !next.done; next = await answers.next()) {
      parts.push(next.value.part?.$case ?? '');
      await sleep(5);
    }
    await closed;
    assert.equal(parts.at(-1), 'event');
    assert.deepEqual(builds.cancelled, []);
  });
}

async function getBuild({ client }: Harness, id: string): Promise<GetBuildResponse> {
  return new Promise((resolve, reject) => {
    client.getBuild({ id }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}
