import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BuildRecord } from '../../src/model/build.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { KilnError } from '../../src/model/error.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { ReadDigest } from '../../src/registry/read-digest.ts';
import { createFolder } from '../store/harness.ts';
import { startDurable } from './durable-service.ts';
import type { Script } from './simulated-vms.ts';

const { signal } = new AbortController();
const digest = `sha256:${'a'.repeat(64)}`;
const other = `sha256:${'b'.repeat(64)}`;
const spec = parseSpec({ outputs: [{ type: 'image', names: ['r.test/a:1', 'r.test/a:2'] }] });
const exporting = { vertexes: [{ digest: 'x', name: 'exporting to image', started: 't' }] };

const push: Script = (guest) => {
  guest.say(exporting);
  guest.end({ imageDigest: digest });
};

/** The record of a build whose guest does this, once it has ended. */
async function run(
  script: Script,
  readDigest: ReadDigest,
): Promise<{ record: BuildRecord; events: string[] }> {
  await using folder = await createFolder();
  const service = await startDurable(folder.path, { script, readDigest });
  const request = { spec, context: null, dockerfile: Buffer.from('FROM a\n') };
  const { id } = await service.builds.start(localAdmin, request);
  const range = { offset: 0, follow: true, signal };
  const items = await Array.fromAsync(await service.builds.events(localAdmin, id, range));
  const record = await service.builds.get(localAdmin, id);
  await service.stop();
  return { record, events: items.map(({ event }) => event.type) };
}

test('what was pushed is read back from the registry, name by name, and told of (simulated VMs)', async () => {
  const asked: string[] = [];
  const { record, events } = await run(push, async (name) => {
    asked.push(name);
    return digest;
  });
  assert.equal(record.state, 'succeeded', record.verdict?.message);
  assert.deepEqual(record.pushed, [
    { reference: 'r.test/a:1', digest },
    { reference: 'r.test/a:2', digest },
  ]);
  assert.deepEqual(asked, ['r.test/a:1', 'r.test/a:2']);
  assert.equal(record.pushBegun, true);
  assert.deepEqual(events.slice(-3), ['pushed', 'pushed', 'verdict']);
});

for (const [what, readDigest, code, message] of [
  ['has another image', async () => other, 'DIGEST_MISMATCH', /has sha256:b+ as r\.test\/a:1/],
  ['has none', async () => null, 'DIGEST_MISMATCH', /has nothing of that name/],
  [
    'does not answer',
    async () => {
      throw new KilnError('REGISTRY_UNAVAILABLE', 'It is away.');
    },
    'REGISTRY_UNAVAILABLE',
    /away/,
  ],
] satisfies [string, ReadDigest, string, RegExp][]) {
  test(`a build whose registry ${what} fails, whatever its VM says (simulated VMs)`, async () => {
    const { record } = await run(push, readDigest);
    assert.deepEqual([record.state, record.verdict?.code, record.pushed], ['failed', code, []]);
    assert.match(record.verdict?.message ?? '', message);
    assert.equal(record.attempts.length, 1);
  });
}

test('a build that loses its VM runs once more only if it had not begun to push (simulated VMs)', async () => {
  for (const [said, attempts] of [
    [[exporting], 1],
    [[{ statuses: [{ id: 'pushing layers', vertex: 'x' }] }], 1],
    [[{ vertexes: [{ digest: 'x', name: '[1/1] COPY a /' }] }], 2],
  ] as const) {
    let made = 0;
    const script: Script = async (guest) => {
      made += 1;
      if (made > 1) return push(guest);
      for (const status of said) guest.say(status);
      // What was said is written down before the VM goes.
      await new Promise((resolve) => setTimeout(resolve, 100));
      return guest.lose();
    };
    const { record } = await run(script, async () => digest);
    assert.equal(record.attempts.length, attempts, JSON.stringify(said));
    assert.equal(record.state, attempts === 1 ? 'failed' : 'succeeded');
  }
});

test('a build that pushes nothing asks no registry, and one that fails does not either (simulated VMs)', async () => {
  const { record } = await run((guest) => guest.end({ exitCode: 1 }), assert.fail);
  assert.deepEqual([record.state, record.pushed], ['failed', []]);
});
