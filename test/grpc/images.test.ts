import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServiceError } from '@grpc/grpc-js';
import { BuildState } from '../../src/grpc/generated/kiln/v1/build.ts';
import type {
  ListEntriesResponse,
  ListOperationsResponse,
} from '../../src/grpc/generated/kiln/v1/image_service.ts';
import { simulateHouse } from '../operations/simulated-house.ts';
import { simulateBuilds } from '../simulated-builds.ts';
import { catalog } from '../simulated-service.ts';
import { collect, reasonOf, rebuildRequest, serve } from './harness.ts';

const entry = 'buildkit-v0.20.2';

const answer = <T>(call: (done: (error: ServiceError | null, answer: T) => void) => void): Promise<T> =>
  new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));

test('a rebuild streams the operation, its log and its steps, the verdict last; then it is listed (simulated images)', async () => {
  const house = simulateHouse();
  await using harness = await serve(simulateBuilds(), {}, undefined, house);
  const { images } = harness;
  const parts = (await collect(images.rebuildImage(rebuildRequest({ entry: 'v0.20.2' })))).map(
    ({ part }) => part,
  );
  const [first] = parts;
  assert.ok(first?.$case === 'accepted');
  assert.deepEqual([first.value.entry, first.value.version], [entry, 'v0.1.0']);
  assert.equal(first.value.state, BuildState.BUILD_STATE_RUNNING);
  const kinds = parts.flatMap((part) => (part?.$case === 'event' ? [part.value.kind] : []));
  assert.deepEqual(
    kinds.map((kind) => (kind?.$case === 'step' ? `${kind.value.name} ${kind.value.state}` : kind?.$case)),
    [...['ctr', 'vm', 'check', 'roll'].flatMap((name) => [`${name} running`, `${name} done`]), 'verdict'],
  );
  const log = parts.flatMap((part) => (part?.$case === 'log' ? [Buffer.from(part.value.data)] : []));
  assert.match(Buffer.concat(log).toString(), /check {2}no unit failed/);
  const { operations } = await answer<ListOperationsResponse>((done) => images.listOperations({}, done));
  assert.deepEqual(
    operations.map(({ id, state, image }) => [id, state, image?.digest]),
    [[first.value.id, BuildState.BUILD_STATE_SUCCEEDED, `sha256:${'b'.repeat(64)}`]],
  );
  const watched = await collect(
    images.watchOperation({ id: first.value.id, logOffset: 5, eventOffset: 0, follow: false }),
  );
  assert.ok(watched.length > 1);
  const back = await answer<{ entry: string; version?: string | undefined }>((done) =>
    images.rollBackImage({ entry }, done),
  );
  assert.deepEqual([back.entry, back.version], [entry, undefined]);
  assert.deepEqual(house.served, [`${entry} v0.1.0`, `${entry} back`]);
});

test('the catalog is the same as over HTTP, and a wrong version is refused (simulated builds)', async () => {
  await using harness = await serve(simulateBuilds());
  const { images } = harness;
  const { entries } = await answer<ListEntriesResponse>((done) => images.listEntries({}, done));
  assert.ok(entries.length > 0);
  assert.ok(entries.every(({ pins }) => pins.length > 0));
  assert.deepEqual(
    entries.map(({ name, derivedFrom }) => [name, derivedFrom]),
    catalog.map((item) => [item.entry, item.derivedFrom ?? undefined]),
  );
  await assert.rejects(
    collect(images.rebuildImage(rebuildRequest({ entry, version: '1' }))),
    (error) => reasonOf(error) === 'PARAM_INVALID',
  );
});
