import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { ensureSigningKey } from '../../src/evidence/signing-key.ts';
import { readStatement } from '../../src/evidence/verify-evidence.ts';
import { operationSchema, recordSchema, servedSchema } from '../../src/http/docs/schemas.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import type { Operation } from '../../src/model/operation.ts';
import { build, curl, startRegistry, startTestService, testData, waitUntilReady } from './harness.ts';

/** Of its own, as another image is served from it in the end. */
const dataDirectory = `${testData}-rebuild`;
const registry = await startRegistry();
const repo = `${new URL(registry.url).host}/kiln/images`;
const open = () =>
  startTestService({
    mirror: registry.url,
    env: { KILN_DATA_DIR: dataDirectory, KILN_POOL_SIZE: '1', KILN_POOL_FROZEN: '0', KILN_MAX_VMS: '3' },
  });
let service = await open();
after(async () => {
  await service[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await forgetVersions();
});
await waitUntilReady(service);

/** Whatever version is made here is made anew by the next run. */
async function forgetVersions(): Promise<void> {
  const record = join(dataDirectory, 'images/buildkit-v0.20.2.json');
  const { served, previous } = JSON.parse(await readFile(record, 'utf8'));
  for (const ref of [served, previous]) if (ref) await rm(ref.directory, { recursive: true, force: true });
  const made = JSON.parse(await readFile(record.replace('.json', '.made.json'), 'utf8'));
  for (const { directory } of made) await rm(directory, { recursive: true, force: true });
  await rm(dirname(record), { recursive: true });
  await rm(join(dataDirectory, 'operations'), { recursive: true });
}

const post = async (path: string, body: object) =>
  fetch(`${service.httpUrl}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });

async function imageOfBuild(): Promise<string> {
  const { exit, body, id } = await build(service, { Dockerfile: 'FROM busybox\nRUN echo built\n' });
  assert.equal(exit, 0, body);
  const record = await (await fetch(`${service.httpUrl}/v1/builds/${id}`)).json();
  return recordSchema.parse(record).entry.imageDigest;
}

/** What the registry has, as other programs find it. */
async function checkPublished({
  published,
  ctrDigest,
  dqdDigest,
}: Pick<Operation, 'published' | 'ctrDigest' | 'dqdDigest'>): Promise<void> {
  const expected: [string, string | null][] = [
    ['ctr_buildkit-v0.20.2', ctrDigest],
    ['buildkit-v0.20.2', dqdDigest],
  ];
  assert.deepEqual(
    published,
    expected.map(([tag, digest]) => ({
      ...{ reference: `${repo}:${tag}_v0.1.0`, alias: `${repo}:${tag}`, digest },
    })),
  );
  for (const { reference, alias, digest } of published)
    for (const name of [reference, alias]) {
      const inspect = ['inspect', '--tls-verify=false', '--format={{.Digest}}', `docker://${name}`];
      assert.equal((await runTool('skopeo', inspect, AbortSignal.timeout(120_000))).trim(), digest);
    }
}

/** What is told of it, signed, at kiln and in the registry. */
async function checkEvidence(id: string, { published }: Pick<Operation, 'published'>): Promise<void> {
  const { publicKey } = await ensureSigningKey(dataDirectory);
  const get = async (kind: string) =>
    (await fetch(`${service.httpUrl}/admin/operations/${id}/${kind}`)).text();
  const { subject } = readStatement(await get('provenance'), publicKey);
  const told = Object.fromEntries(subject.map(({ name, digest }) => [name, digest.sha256]));
  for (const name of ['kernel', 'initrd', 'disk.qcow2', 'sbom.spdx.json']) assert.ok(told[name], name);
  for (const { reference, digest } of published) {
    assert.equal(`sha256:${told[reference.split(':').at(-1) ?? '']}`, digest);
    const inspect = [
      'inspect',
      '--raw',
      '--tls-verify=false',
      `docker://${repo}:${digest.replace(':', '-')}`,
    ];
    const { manifests } = JSON.parse(await runTool('skopeo', inspect, AbortSignal.timeout(120_000)));
    assert.equal(manifests.length, 2);
  }
  const sbom = JSON.parse(await get('sbom'));
  const names = sbom.packages.map(({ name }: { name: string }) => name);
  for (const name of ['systemd', 'github.com/moby/buildkit', 'google.golang.org/grpc'])
    assert.ok(names.includes(name));
}

test('a VM image is made anew, checked in a VM, published and served, while builds go on; the way back takes seconds; a restart keeps what is served', async () => {
  const first = await imageOfBuild();
  const during = imageOfBuild();
  const { exit, body, headers } = await curl(
    ...['-H', 'Content-Type: application/json', '-d', JSON.stringify({ entry: 'v0.20.2', repo })],
    `${service.httpUrl}/admin/images/rebuild`,
  );
  assert.equal(exit, 0, body);
  assert.equal(await during, first);
  for (const said of [
    /^#\d+ \[vm-build 2\/2\] RUN .*make-disk\.sh/m,
    /^check {2}buildkitd --version: .* v0\.20\.2 /m,
    /^check {2}runc --version: runc version 1\.2\.5$/m,
    /^check {2}no unit failed$/m,
    /^check {2}builds 4-stages in /m,
    /^kiln: operation \S+ succeeded after /m,
  ])
    assert.match(body, said);
  const [, id] = /Location: \/admin\/operations\/(\S+)/.exec(headers) ?? [];
  const operation = operationSchema.parse(
    await (await fetch(`${service.httpUrl}/admin/operations/${id}`)).json(),
  );
  assert.deepEqual(
    operation.steps.map(({ name, state }) => `${name} ${state}`),
    ['ctr', 'vm', 'dqd', 'check', 'publish', 'roll'].map((name) => `${name} done`),
  );
  const seconds = operation.steps.map(({ name, started: from, ended: to }) =>
    from && to ? `${name} ${((Date.parse(to) - Date.parse(from)) / 1000).toFixed(0)} s` : '',
  );
  console.log(seconds.filter((line) => line !== '').join(', '));
  await checkPublished(operation);
  await checkEvidence(operation.id, operation);
  const second = await imageOfBuild();
  assert.equal(second, operation.image?.digest);
  assert.notEqual(second, first);

  const started = performance.now();
  const back = servedSchema.parse(await (await post('/admin/images/rollback', { entry: 'v0.20.2' })).json());
  const took = performance.now() - started;
  console.log(`the way back took ${(took / 1000).toFixed(1)} s`);
  assert.deepEqual([back.version, back.imageDigest], [null, first]);
  assert.equal(await imageOfBuild(), first);

  const forth = servedSchema.parse(await (await post('/admin/images/rollback', { entry: 'v0.20.2' })).json());
  assert.deepEqual([forth.version, forth.imageDigest], ['v0.1.0', second]);
  await service[Symbol.asyncDispose]();
  service = await open();
  await waitUntilReady(service);
  assert.equal(await imageOfBuild(), second);
});
