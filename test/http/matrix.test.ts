import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endless, log, record } from '../simulated-builds.ts';
import { entries } from '../simulated-entries.ts';
import { matrixId } from '../simulated-matrix.ts';
import { archive, assertProblem, contextPart, curl, form, formType, serve, waitFor } from './harness.ts';

test('a matrix streams every line behind its version and ends with a table (simulated builds)', async () => {
  await using harness = await serve();
  const fields = ['-F', 'context=@-', '-F', `entry=${entries.join(', ')}`];
  const { exit, body, headers } = await curl([...fields, `${harness.url}/build`], archive);
  assert.equal(exit, 0);
  const lines = body.split('\n');
  assert.equal(lines[0], `kiln: matrix ${matrixId}`);
  for (const label of ['v0.20.2', 'v0.12.5']) {
    const own = lines.filter((line) => line.startsWith(`${label} | `)).map((line) => line.slice(10));
    assert.ok(own.includes('#1 [internal] load'), body);
    assert.ok(own.includes('#2 DONE 0.1s'), body);
    assert.match(own.at(-1) ?? '', /^kiln: build \S+ succeeded in 8\.1 s/);
  }
  const table = lines.slice(lines.findIndex((line) => /^kiln: entry +state/.test(line)));
  assert.match(
    table[1] ?? '',
    new RegExp(`^kiln: buildkit-v0\\.20\\.2 +succeeded +8\\.1 s +sha256:a{12} +/v1/builds/${record.id}$`),
  );
  assert.match(table[2] ?? '', /^kiln: buildkit-v0\.12\.5 +succeeded/);
  assert.deepEqual(table.slice(3), [`kiln: matrix succeeded: /v1/matrices/${matrixId}`, '']);
  for (const header of [`X-Matrix-Id: ${matrixId}`, `Location: /v1/matrices/${matrixId}`])
    assert.ok(headers.split('\r\n').includes(header), headers);
  assert.match(headers, /X-Build-State: succeeded/);
});

test('the events of a matrix say which build they are of, the whole matrix last (simulated builds)', async () => {
  await using harness = await serve();
  const fields = entries.flatMap((entry) => ['-F', `buildkit=${entry}`]);
  const ask = ['-H', 'Accept: application/x-ndjson', '-F', 'context=@-', ...fields, `${harness.url}/build`];
  const { body } = await curl(ask, archive);
  const events = body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const entry of entries) {
    const own = events.filter((event) => event.entry === entry);
    assert.ok(own.every(({ build }) => build === record.id));
    assert.equal(own.at(-1).type, 'verdict');
  }
  const last = events.at(-1);
  assert.deepEqual([last.type, last.matrix.state], ['matrix', 'succeeded']);
});

test('a matrix can be left to itself, looked at and cancelled (simulated builds)', async () => {
  await using harness = await serve({ script: (signal) => endless([log('#1 [internal] load\n')], signal) });
  const { api } = harness;
  await api.get(`/v1/matrices/${matrixId}`).expect(404);
  const body = form(contextPart, { name: 'entry', value: entries.join(',') });
  const accepted = await api.post('/build?async=1').set('Content-Type', formType).send(body).expect(202);
  assert.equal(accepted.headers['location'], `/v1/matrices/${matrixId}`);
  assert.equal(accepted.body.state, 'running');
  const { body: matrix } = await api.get(`/v1/matrices/${matrixId}`).expect(200);
  assert.deepEqual(
    matrix.builds.map(({ entry }: { entry: string }) => entry),
    entries,
  );
  assert.equal((await api.delete(`/v1/matrices/${matrixId}`).expect(200)).body.state, 'failed');
  assertProblem(await api.delete(`/v1/matrices/${matrixId}`), 409, 'BUILD_TERMINAL');
});

test('a client that leaves a matrix cancels its builds, and what did not succeed cuts the answer off (simulated builds)', async () => {
  await using harness = await serve({ script: (signal) => endless([log('#1 [internal] load\n')], signal) });
  const fields = ['-F', 'context=@-', '-F', `buildkit=${entries.join(',')}`, `${harness.url}/build`];
  const leaving = await curl(['--max-time', '1', ...fields], archive);
  assert.equal(leaving.exit, 28);
  await waitFor(() => harness.builds.cancelled.length > 0, 'the build is cancelled');
});

test('entries that cannot make a matrix are refused before the context is read (simulated builds)', async () => {
  await using harness = await serve();
  const cases: readonly (readonly [string, number, string])[] = [
    ['entry=buildkit-v0.20.2,buildkit-v0.1.0', 404, 'BUILDKIT_UNKNOWN'],
    ['entry=buildkit-v0.20.2,buildkit-v0.20.2', 422, 'PARAM_INVALID'],
    ['entry=buildkit-v0.20.2&buildkit=buildkit-v0.12.5', 422, 'PARAM_INVALID'],
    [`entry=${Array.from({ length: 17 }, (_, index) => `v0.${index}`).join()}`, 422, 'PARAM_INVALID'],
  ];
  for (const [query, status, code] of cases) {
    const send = harness.api.post(`/build?${query}`).set('Content-Type', 'application/x-tar');
    assertProblem(await send.send(archive), status, code);
  }
  assert.deepEqual(await harness.staged(), []);
});
