import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildStart } from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { generateKeyPair } from '../../src/ssh/keys.ts';
import { simulateBuilds } from '../simulated-builds.ts';
import { build, context, reasonOf, serve, start } from './harness.ts';

type Given = Partial<Pick<BuildStart, 'registryConfig' | 'secrets' | 'sshKeys'>>;

const value = Buffer.from('correct-horse-battery-staple');
const key = Buffer.from(generateKeyPair().privateKey);

test('secrets, keys and accounts are taken, the largest too, and the record names them (simulated builds)', async () => {
  const builds = simulateBuilds();
  await using harness = await serve(builds);
  const large = Buffer.alloc(500 * 1024, 'x');
  const secrets = {
    registryConfig: '{"auths":{"r.test":{"auth":"YTpi"}}}',
    secrets: [
      { id: 'npm', value },
      { id: 'large', value: large },
    ],
    sshKeys: [{ id: 'default', value: key }],
  };
  const dockerfile = `FROM scratch\n#${'x'.repeat(1024 * 1024 - 20)}`;
  const [first] = await build(harness.client.build(), [
    start({ secrets, dockerfile, buildArgs: 16, valueBytes: 60_000 }),
  ]);
  const started = builds.started[0]?.secrets;
  assert.deepEqual(started?.names, {
    registries: ['r.test'],
    secrets: ['npm', 'large'],
    sshKeys: ['default'],
  });
  assert.deepEqual(started?.secrets[1]?.value, large);
  assert.deepEqual(first?.part?.$case === 'accepted' && first.part.value.secrets, {
    ...{ registries: ['registry.example.org'], secrets: ['npm'], sshKeys: ['default'] },
  });
});

for (const [what, secrets, reason] of [
  ['an id with a slash', { secrets: [{ id: 'a/b', value }] }, 'SECRET_INVALID'],
  ['an id twice', { secrets: [1, 2].map(() => ({ id: 'a', value })) }, 'SECRET_INVALID'],
  ['more than 500 KiB', { secrets: [{ id: 'a', value: Buffer.alloc(512_001) }] }, 'SECRET_INVALID'],
  ['no ssh key', { sshKeys: [{ id: 'default', value }] }, 'SECRET_INVALID'],
  ['accounts that are none', { registryConfig: 'me:secret' }, 'PARAM_INVALID'],
] satisfies [string, Given, string][]) {
  test(`row 67: ${what} is refused with ${reason} (simulated builds)`, async () => {
    const builds = simulateBuilds();
    await using harness = await serve(builds);
    await assert.rejects(
      build(harness.client.build(), [start({ secrets }), context('c')]),
      (error: { details?: string }) => {
        assert.equal(reasonOf(error), reason);
        assert.doesNotMatch(error.details ?? '', /correct-horse|me:secret/);
        return true;
      },
    );
    assert.deepEqual([builds.started, builds.staged], [[], []]);
  });
}
