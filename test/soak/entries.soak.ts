import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { listArchive } from '../../src/catalog/catalog.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { build, startForFile } from '../e2e/harness.ts';

/** Every entry that the catalog calls checked: made from its pins where that was not done yet, booted, and built with. */
const catalog = await listArchive(join(import.meta.dirname, '../../images'));
const checked = catalog.filter(({ state }) => state === 'checked');
const names = checked.map(({ name }) => name);
const { service } = await startForFile({
  KILN_ENTRIES: ['buildkit-v0.20.2', ...names.filter((name) => name !== 'buildkit-v0.20.2')]
    .map((name) => `${name}=0`)
    .join(','),
});

for (const { name, pins } of checked) {
  test(`${name}: a step with a network, an artifact, and a Dockerfile that fails`, async () => {
    const good = await build(
      service,
      { Dockerfile: 'FROM busybox\nRUN echo from the step; nslookup no-such.test; true\nCOPY a /\n', a: 'x' },
      ...[`entry=${name}`, 'output=docker', 'tag=demo:1'],
    );
    assert.equal(good.exit, 0, good.body);
    assert.match(good.body, /^#\d+ \d+\.\d+ from the step$/m);
    const record = await service.builds.get(localAdmin, good.id);
    assert.equal(record.vm?.network, 'bridge');
    assert.ok(record.entry.versions['buildkit']?.includes(` ${pins.BUILDKIT_VERSION}`));
    assert.equal(record.entry.versions['runc'], pins.RUNC_VERSION);
    assert.equal(record.entry.versions['go'], pins.GO_TOOLCHAIN);
    assert.equal(record.artifact?.format, 'docker');
    assert.ok(record.egress.some((destination) => destination.name === 'no-such.test'));
    const bad = await build(
      service,
      { Dockerfile: 'FROM busybox\nRUN echo no good; false\n' },
      `entry=${name}`,
    );
    assert.equal(bad.exit, 18, bad.body);
    assert.match(bad.body, /did not complete successfully: exit code: 1/);
    assert.equal((await service.builds.get(localAdmin, bad.id)).verdict?.exitCode, 1);
  });
}
