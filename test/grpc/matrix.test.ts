import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MatrixState } from '../../src/grpc/generated/kiln/v1/build.ts';
import { everyEvent, record, simulateBuilds } from '../simulated-builds.ts';
import { entries } from '../simulated-entries.ts';
import { matrixId } from '../simulated-matrix.ts';
import { build, context, goesOn, reasonOf, serve, start } from './harness.ts';

test('a matrix is the first message and the last; between them each message says which build it is of (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds({ script: everyEvent }));
  const messages = await build(harness.client.build(), [start({ entries }), context('x')]);
  const [first, ...others] = messages;
  const last = others.pop();
  assert.ok(first?.part?.$case === 'matrix' && last?.part?.$case === 'matrix');
  assert.deepEqual([first.part.value.id, last.part.value.id], [matrixId, matrixId]);
  assert.deepEqual(
    [first.part.value.builds.map(({ entry }) => entry), last.part.value.state],
    [[...entries], MatrixState.MATRIX_STATE_SUCCEEDED],
  );
  assert.ok(others.every(({ buildId }) => buildId === record.id));
  assert.equal(
    others.filter(({ part }) => part?.$case === 'event' && part.value.kind?.$case === 'verdict').length,
    entries.length,
  );
});

test('a call of a matrix that is cancelled cancels its builds (simulated builds)', async () => {
  const builds = simulateBuilds({ script: goesOn });
  await using harness = await serve(builds);
  const call = harness.client.build();
  call.on('error', () => undefined);
  call.write(start({ entries }));
  call.write(context('x'));
  call.end();
  await new Promise((resolve) => call.once('data', resolve));
  call.cancel();
  await builds.firstCancel;
});

test('entries that make no matrix are refused before the context is read (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  for (const [asked, reason] of [
    [['buildkit-v0.20.2', 'buildkit-v0.20.2'], 'PARAM_INVALID'],
    [['buildkit-v0.20.2', 'buildkit-v0.1.0'], 'BUILDKIT_UNKNOWN'],
  ] as const) {
    const refused = build(harness.client.build(), [start({ entries: asked }), context('x')]);
    await assert.rejects(refused, (error) => reasonOf(error) === reason);
  }
});
