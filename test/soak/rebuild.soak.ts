import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { operationSchema } from '../../src/http/docs/schemas.ts';
import { build, curl, startRegistry, startTestService, testData, waitUntilReady } from '../e2e/harness.ts';

/** All images of an entry, built in VMs of the service that serves it: how long each step takes is printed. */
const dataDirectory = `${testData}-rebuild-vm`;
const registry = await startRegistry();
const service = await startTestService({
  mirror: registry.url,
  env: {
    ...{ KILN_DATA_DIR: dataDirectory, KILN_IMAGE_BUILDER: 'vm', KILN_IMAGE_SOURCES: 'packages' },
    ...{ KILN_POOL_SIZE: '1', KILN_POOL_FROZEN: '0', KILN_MAX_VMS: '2' },
  },
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  // Whatever version is made here is made anew by the next run.
  const made = join(dataDirectory, 'images/buildkit-v0.20.2.made.json');
  for (const { directory } of JSON.parse(await readFile(made, 'utf8')))
    await rm(directory, { recursive: true, force: true });
  for (const name of ['images', 'operations']) await rm(join(dataDirectory, name), { recursive: true });
});
await waitUntilReady(service);

test('ctr, vm and dqd are built in VMs of this service, and builds run on what they make', async () => {
  const asked = JSON.stringify({ entry: 'v0.20.2', targets: ['dqd'] });
  const rebuilt = await curl(
    ...['-H', 'Content-Type: application/json', '-d', asked],
    `${service.httpUrl}/admin/images/rebuild`,
  );
  console.log(rebuilt.body);
  const [, id] = /Location: \/admin\/operations\/(\S+)/.exec(rebuilt.headers) ?? [];
  const ended = operationSchema.parse(
    await (await fetch(`${service.httpUrl}/admin/operations/${id}`)).json(),
  );
  for (const { name, state, started, ended: at } of ended.steps) {
    const seconds = started && at ? (Date.parse(at) - Date.parse(started)) / 1000 : 0;
    console.log(`${name}: ${state}, ${seconds.toFixed(0)} s`);
  }
  assert.equal(rebuilt.exit, 0, ended.verdict?.message);
  const { exit, body } = await build(service, { Dockerfile: 'FROM busybox\nRUN echo built\n' });
  assert.equal(exit, 0, body);
});
