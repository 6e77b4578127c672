import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { ContextKind } from '../../src/grpc/generated/kiln/v1/build.ts';
import type { BuildRequest } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { digest, record, simulateBuilds } from '../simulated-builds.ts';
import { oldEntry } from '../simulated-entries.ts';
import { build, collect, context, reasonOf, serve, start } from './harness.ts';

function named(name: string, data: string | Buffer): BuildRequest {
  return { part: { $case: 'namedContext', value: { name, data: Buffer.from(data) } } };
}

for (const [order, chunks, staged, names] of [
  [
    'behind the context',
    [context('c'), context('d'), named('a', '1'), named('a', '2'), named('b', '3')],
    ['cd', '12', '3'],
    ['a', 'b'],
  ],
  ['before it', [named('alpine:3', ''), named('alpine:3', '1'), context('c')], ['1', 'c'], ['alpine:3']],
] as const) {
  test(`named contexts are taken ${order}, chunk by chunk (simulated builds)`, async () => {
    const builds = simulateBuilds();
    await using harness = await serve(builds);
    await build(harness.client.build(), [start(), ...chunks]);
    assert.deepEqual(builds.staged.map(String), staged);
    assert.deepEqual(builds.started[0]?.context?.names, names);
  });
}

test('named contexts go with a Dockerfile alone (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  await build(harness.client.build(), [start({ dockerfile: 'FROM a\n' }), named('a', '1')]);
  assert.equal(builds.started[0]?.context?.summary, null);
});

const chunks = (count: number): BuildRequest[] =>
  Array.from({ length: count }, (_, index) => named(`n${index}`, 'x'));
for (const [what, requests, reason] of [
  ['that comes in two parts', [named('a', '1'), context('c'), named('a', '2')], 'STREAM_PROTOCOL'],
  ['between two parts of the context', [context('c'), named('a', '1'), context('c')], 'STREAM_PROTOCOL'],
  ['called ../x', [named('../x', '1'), context('c')], 'PARAM_INVALID'],
  ['without a name', [named('', '1'), context('c')], 'PARAM_INVALID'],
  ['with a name of 300 bytes', [named('a'.repeat(300), '1'), context('c')], 'PARAM_INVALID'],
  [
    'whose name means that of another',
    [named('a', '1'), named('a:latest', '2'), context('c')],
    'PARAM_INVALID',
  ],
  ['of nine', [...chunks(9), context('c')], 'PARAM_INVALID'],
  ['alone', [named('a', '1')], 'FILE_MISSING'],
] as const) {
  test(`a named context ${what} is refused with ${reason} (simulated builds)`, async () => {
    const builds = simulateBuilds();
    await using harness = await serve(builds);
    await assert.rejects(
      build(harness.client.build(), [start(), ...requests]),
      (error: { code?: status }) => {
        assert.deepEqual([error.code, reasonOf(error)], [status.INVALID_ARGUMENT, reason]);
        return true;
      },
    );
    assert.deepEqual(builds.started, []);
  });
}

test('a BuildKit that knows no named contexts is told before one is read (simulated builds)', async () => {
  const stageContexts = (): never => assert.fail('it was read');
  await using harness = await serve(simulateBuilds({ overrides: { stageContexts } }));
  const call = harness.client.build();
  call.write(start({ entry: oldEntry }));
  call.write(named('a', 'x'));
  await assert.rejects(collect(call), /knows no named contexts; take v0\.10\.0 or newer/);
});

test('a record tells of named contexts by name and kind', async () => {
  await using harness = await serve(simulateBuilds());
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  harness.client.getBuild({ id: record.id }, (error, answer) =>
    error ? reject(error) : resolve(answer.build?.namedContexts),
  );
  const archive = { digest, size: 512, entries: 1, warnings: [] };
  assert.deepEqual(await promise, [{ name: 'lib', kind: ContextKind.CONTEXT_KIND_FOLDER, archive }]);
});
