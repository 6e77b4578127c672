import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogSchema } from '../../src/http/docs/catalog-schema.ts';
import { readinessSchema } from '../../src/http/docs/probe-schemas.ts';
import { matrixSchema, recordSchema } from '../../src/http/docs/schemas.ts';
import type { BuildEvent } from '../../src/model/event.ts';
import { build, startForFile } from './harness.ts';
import { createArchives } from './named-contexts.ts';

const old = 'buildkit-v0.12.5';
const { service } = await startForFile({
  KILN_ENTRIES: `v0.20.2=1,${old}=0`,
  KILN_POOL_FROZEN: '0',
});

const get = async (path: string): Promise<unknown> => (await fetch(`${service.httpUrl}${path}`)).json();

test('a build runs on the BuildKit it asks for: its programs, its log, its steps with networks of their own', async () => {
  const { exit, body, id } = await build(
    service,
    {
      Dockerfile: 'FROM busybox\nRUN echo from the step; ip=$(nslookup no-such.test 2>&1); true\nCOPY a /\n',
      a: 'x',
    },
    ...['buildkit=v0.12.5', 'output=oci'],
  );
  assert.equal(exit, 0, body);
  assert.match(body, /^#\d+ \[1\/3\] FROM docker\.io\/library\/busybox:latest@sha256:/m);
  assert.match(body, /^#\d+ \d+\.\d+ from the step$/m);
  const record = recordSchema.parse(await get(`/v1/builds/${id}`));
  assert.deepEqual([record.entry.name, record.vm?.network], [old, 'bridge']);
  assert.match(
    record.entry.versions['buildkit'] ?? '',
    / v0\.12\.5 bac3f2b673f3f9d33e79046008e7a38e856b3dc6$/,
  );
  assert.deepEqual([record.entry.versions['runc'], record.entry.versions['go']], ['1.1.12', 'go1.20.14']);
  assert.match(record.imageDigest ?? '', /^sha256:/);
  assert.equal(record.artifact?.format, 'oci');
  assert.ok(
    record.egress.some(({ name }) => name === 'no-such.test'),
    'its DNS came to kiln',
  );
  const log = await (await fetch(`${service.httpUrl}/v1/builds/${id}/log`)).text();
  assert.ok(body.includes(log), 'the streamed log is the stored log');
});

test('the events of an old BuildKit are spelled as those of a new one', async () => {
  const spellings = [];
  for (const entry of ['v0.12.5', 'v0.20.2']) {
    const { id } = await build(service, { Dockerfile: 'FROM busybox\nRUN echo hi\n' }, `entry=${entry}`);
    const text = await (await fetch(`${service.httpUrl}/v1/builds/${id}/events`)).text();
    const events = text
      .trimEnd()
      .split('\n')
      .map((line): BuildEvent => JSON.parse(line));
    const statuses = events.flatMap((event) => (event.type === 'status' ? [event.status as Status] : []));
    const step = statuses
      .flatMap(({ vertexes = [] }) => vertexes)
      .find(({ name }) => name === '[2/2] RUN echo hi');
    const logs = statuses.flatMap(({ logs: all = [] }) => all);
    assert.ok(step, `${entry} has an event of the step`);
    assert.ok(
      logs.some(({ data }) => Buffer.from(data, 'base64').toString() === 'hi\n'),
      entry,
    );
    spellings.push(
      Object.keys(step)
        .filter((name) => ['digest', 'name', 'inputs'].includes(name))
        .sort(),
    );
  }
  assert.deepEqual(spellings[0], spellings[1]);
});

type Status = { vertexes?: { name: string }[]; logs?: { data: string }[] };

test('a Dockerfile that fails on an old BuildKit fails with its own words and exit code', async () => {
  const { exit, body, id } = await build(
    service,
    { Dockerfile: 'FROM busybox\nRUN echo no good; false\n' },
    'buildkit=v0.12.5',
  );
  assert.equal(exit, 18, body);
  assert.match(body, /^error: failed to solve: process "\/bin\/sh -c echo no good; false" did not complete/m);
  const { state, verdict } = recordSchema.parse(await get(`/v1/builds/${id}`));
  assert.deepEqual([state, verdict?.exitCode, verdict?.code], ['failed', 1, null]);
});

test('catalog and readiness tell what this host has of each entry', async () => {
  const { entries } = catalogSchema.parse(await get('/catalog'));
  const made = entries.filter(({ image }) => image !== null).map(({ entry }) => entry);
  assert.ok(made.includes(old) && made.includes('buildkit-v0.20.2'), made.join());
  assert.deepEqual(
    entries.filter(({ standard }) => standard).map(({ entry }) => entry),
    ['buildkit-v0.20.2'],
  );
  const { pools } = readinessSchema.parse(await get('/readyz'));
  assert.deepEqual(
    pools.map(({ entry, size }) => [entry, size]),
    [
      ['buildkit-v0.20.2', 1],
      [old, 0],
    ],
  );
  const refused = await build(service, { Dockerfile: 'FROM busybox\n' }, 'buildkit=v0.11.6');
  assert.match(refused.body, /"code":"BUILDKIT_NOT_MADE"/);
});

test('one upload, named contexts and all, is built by both at once, and the difference is told', async () => {
  await using archives = await createArchives();
  const Dockerfile = [
    ...['FROM busybox', 'COPY a /', 'COPY --from=base /of-base /', 'COPY --from=lib /kept /'],
    ...['RUN cat /a /of-base /kept', 'RUN cat /proc/sys/kernel/random/uuid'],
  ].join('\n');
  const { exit, body, headers } = await build(
    service,
    { Dockerfile, a: 'the same for both\n' },
    ...['buildkit=v0.20.2,v0.12.5', `build-context.base=@${archives.layout}`],
    `build-context.lib=@${archives.files}`,
  );
  assert.equal(exit, 0, body);
  for (const version of ['v0.20.2', 'v0.12.5'])
    for (const line of ['the same for both', 'from the layout', 'from the folder'])
      assert.match(
        body,
        new RegExp(`^${version.replaceAll('.', '\\.')} \\| #\\d+ \\d+\\.\\d+ ${line}$`, 'm'),
      );
  assert.match(
    body,
    /^kiln: buildkit-v0\.12\.5: line \d+ of its log is not in that of buildkit-v0\.20\.2: #\d+ \d+\.\d+ [0-9a-f-]{36}$/m,
  );
  const [, id] = /X-Matrix-Id: (\S+)/i.exec(headers) ?? [];
  const matrix = matrixSchema.parse(await get(`/v1/matrices/${id}`));
  assert.deepEqual(
    [matrix.state, ...matrix.builds.map(({ entry, state }) => `${entry} ${state}`)],
    ['succeeded', 'buildkit-v0.20.2 succeeded', `${old} succeeded`],
  );
});
