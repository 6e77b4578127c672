import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { z } from 'zod';
import { catalogSchema } from '../../src/http/docs/catalog-schema.ts';
import { operationSchema, recordSchema } from '../../src/http/docs/schemas.ts';
import { build, curl, startRegistry, startTestService, testData, waitUntilReady } from '../e2e/harness.ts';

/** An entry of one's own, from its Dockerfile to a build by it. */
const dataDirectory = `${testData}-derived`;
const entries = await mkdtemp(join(tmpdir(), 'kiln-entries-'));
await mkdir(join(entries, 'mine'));
// What the VM image says of itself is read out of its disk.
const rename = `RUN test -x /usr/local/bin/buildkitd && sed -i 's/^PRETTY_NAME=.*/PRETTY_NAME="mine"/' /etc/os-release`;
await writeFile(join(entries, 'mine/Dockerfile'), `FROM ctr_buildkit-v0.20.2\n${rename}\n`);
const registry = await startRegistry();
const service = await startTestService({
  mirror: registry.url,
  env: {
    ...{ KILN_DATA_DIR: dataDirectory, KILN_ENTRIES_DIR: entries },
    ...{ KILN_POOL_SIZE: '0', KILN_POOL_FROZEN: '0', KILN_MAX_VMS: '1' },
  },
});
after(async () => {
  await service[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await rm(entries, { recursive: true });
  const made = join(dataDirectory, 'images/mine.made.json');
  for (const { directory } of JSON.parse(await readFile(made, 'utf8')))
    await rm(directory, { recursive: true, force: true });
  for (const name of ['images', 'operations']) await rm(join(dataDirectory, name), { recursive: true });
});
await waitUntilReady(service);

const itemOf = async (entry: string) => {
  const answer = catalogSchema.parse(await (await fetch(`${service.httpUrl}/catalog`)).json());
  return answer.entries.find((item) => item.entry === entry);
};

test('an entry that goes on from a ctr image is made, checked and serves builds as any other', async () => {
  const files = { Dockerfile: 'FROM busybox\nRUN echo built\n' };
  const early = await build(service, files, 'entry=mine');
  assert.match(early.body, /"BUILDKIT_NOT_MADE"/);
  assert.deepEqual((await itemOf('mine'))?.derivedFrom, 'buildkit-v0.20.2');
  const rebuilt = await curl(
    ...['-H', 'Content-Type: application/json', '-d', '{"entry":"mine"}'],
    `${service.httpUrl}/admin/images/rebuild`,
  );
  console.log(rebuilt.body);
  const [, id] = /Location: \/admin\/operations\/(\S+)/.exec(rebuilt.headers) ?? [];
  const operation = `${service.httpUrl}/admin/operations/${id}`;
  const { state, verdict, image } = operationSchema.parse(await (await fetch(operation)).json());
  assert.equal(state, 'succeeded', verdict?.message);
  assert.equal(image?.versions['distribution'], 'mine');
  const { exit, body, id: buildId } = await build(service, files, 'entry=mine');
  assert.equal(exit, 0, body);
  const record = recordSchema.parse(await (await fetch(`${service.httpUrl}/v1/builds/${buildId}`)).json());
  assert.deepEqual([record.entry.name, record.entry.imageDigest], ['mine', image?.digest]);
  const { payload } = z
    .object({ payload: z.base64() })
    .parse(await (await fetch(`${operation}/provenance`)).json());
  const statement = Buffer.from(payload, 'base64').toString();
  for (const name of ['"name":"ctr"', '"name":"dockerfile"', '"name":"base"'])
    assert.ok(statement.includes(name));
});
