import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { rebuildSchema } from '../../src/model/operation.ts';
import { finish, openOperations } from './open-operations.ts';
import { simulateHouse } from './simulated-house.ts';

const asked = rebuildSchema.parse({ entry: 'v0.20.2' });
const accepts = (given: object): boolean => rebuildSchema.safeParse({ entry: 'v0.20.2', ...given }).success;

test('what is asked of a rebuild is checked before anything is made: none of it becomes an option or a line of something else', () => {
  for (const given of [
    { targets: ['ctr', 'vm', 'dqd'], noCache: true },
    { repo: 'registry.example.org:5000/kiln/images' },
    { repo: '127.0.0.1:5000/kiln' },
    { args: { DEBIAN_SUITE: 'trixie', DEBIAN_KERNEL_PACKAGE: 'linux-image-6.12.0-1-amd64' } },
    { args: { BASE_IMAGE: 'docker.io/library/ubuntu:24.04', QEMU_IMAGE: `debian@sha256:${'a'.repeat(64)}` } },
  ])
    assert.ok(accepts(given), JSON.stringify(given));
  for (const given of [
    { targets: [] },
    { targets: ['image'] },
    { repo: 'registry.example.org/kiln:latest' },
    { repo: 'registry.example.org/Kiln' },
    { repo: '--tls-verify=false' },
    { repo: '' },
    { args: { BUILDKIT_VERSION: 'v0.1.0' } },
    { args: { DEBIAN_SUITE: '--setup-hook=id' } },
    { args: { DEBIAN_SUITE: '../sid' } },
    { args: { DEBIAN_KERNEL_PACKAGE: 'linux,openssh-client' } },
    { args: { KERNEL_PACKAGE: 'linux; id' } },
    { args: { BASE_IMAGE: 'ubuntu\nRUN id' } },
    { args: { QEMU_IMAGE: '-x' } },
    { version: 'v1' },
    { dryRun: 'yes' },
  ])
    assert.ok(!accepts(given), JSON.stringify(given));
});

test('each target brings what it is made from; where VMs are containers there is none without dqd (simulated images)', async () => {
  const made = async (given: object, needsDqd = false): Promise<string> => {
    await using opened = await openOperations(simulateHouse({ needsDqd }));
    const { operations } = opened;
    const request = rebuildSchema.parse({ ...asked, ...given });
    const { steps, request: complete } = await finish(
      operations,
      await operations.rebuild(localAdmin, request),
    );
    const done = steps.flatMap(({ name, state }) => (state === 'done' ? [name] : []));
    return `${complete.targets.join(' ')}: ${done.join(' ')}`;
  };
  assert.equal(await made({ targets: ['ctr'] }), 'ctr: ctr');
  assert.equal(await made({ targets: ['vm'] }), 'ctr vm: ctr vm check roll');
  assert.equal(await made({ targets: ['dqd', 'ctr'] }), 'ctr vm dqd: ctr vm dqd check roll');
  assert.equal(await made({}), 'ctr vm: ctr vm check roll');
  assert.equal(await made({}, true), 'ctr vm dqd: ctr vm dqd check roll');
  assert.equal(await made({ targets: ['ctr'] }, true), 'ctr: ctr');
});

test('the record has the digests of all that was made (simulated images)', async () => {
  await using opened = await openOperations();
  const { operations } = opened;
  const request = rebuildSchema.parse({ ...asked, targets: ['dqd'] });
  const { image, ctrDigest, dqdDigest } = await finish(
    operations,
    await operations.rebuild(localAdmin, request),
  );
  assert.deepEqual(
    [ctrDigest, image?.digest, dqdDigest].map((digest) => digest?.at(-1)),
    ['c', 'b', 'd'],
  );
});

test('what is published is in the record; where that fails nothing is served (simulated images)', async () => {
  const repo = 'registry.example.org/kiln';
  const rebuild = async (house = simulateHouse()) => {
    await using opened = await openOperations(house);
    const { operations } = opened;
    const request = rebuildSchema.parse({ ...asked, repo });
    return await finish(operations, await operations.rebuild(localAdmin, request));
  };
  const { published } = await rebuild();
  assert.deepEqual(
    published.map(({ reference, alias, digest }) => [reference, alias, digest.at(-1)]),
    [
      [`${repo}:ctr_buildkit-v0.20.2_v0.1.0`, `${repo}:ctr_buildkit-v0.20.2`, 'c'],
      [`${repo}:buildkit-v0.20.2_v0.1.0`, `${repo}:buildkit-v0.20.2`, 'd'],
    ],
  );
  const house = simulateHouse({ fail: 'publish' });
  const failed = await rebuild(house);
  assert.deepEqual(
    failed.steps.map(({ state }) => state),
    ['done', 'done', 'done', 'done', 'failed', 'waiting'],
  );
  assert.deepEqual([house.served, house.templates.size], [[], 0]);
});

test('what is published already is told before anything is made, and what an earlier try published is no hindrance (simulated images)', async () => {
  const request = rebuildSchema.parse({ ...asked, repo: 'registry.example.org/kiln', version: 'v0.3.0' });
  const house = simulateHouse({ fail: 'refusePublished' });
  await using opened = await openOperations(house);
  const failed = await finish(opened.operations, await opened.operations.rebuild(localAdmin, request));
  assert.equal(failed.verdict?.message, 'refusePublished failed');
  assert.deepEqual(
    failed.steps.map(({ state }) => state),
    ['waiting', 'waiting', 'waiting', 'waiting', 'failed', 'waiting'],
  );
  const { repo } = request;
  assert.deepEqual(house.refused, [{ repo, kinds: ['ctr', 'dqd'], ours: [] }]);

  const other = simulateHouse({ fail: 'publish' });
  await using again = await openOperations(other);
  const first = await finish(again.operations, await again.operations.rebuild(localAdmin, request));
  assert.equal(first.steps.find(({ name }) => name === 'publish')?.state, 'failed');
  await finish(again.operations, await again.operations.resume(localAdmin, first.id));
  assert.deepEqual(
    other.refused.map(({ ours }) => ours),
    [[], [first.ctrDigest, first.dqdDigest]],
  );
  await finish(
    again.operations,
    await again.operations.rebuild(localAdmin, { ...request, version: 'v0.3.1' }),
  );
  assert.deepEqual(other.refused.at(-1)?.ours, []);
});
