import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulateHouse } from '../operations/simulated-house.ts';
import { assertProblem, curl, serve, waitFor } from './harness.ts';

const json = ['-H', 'Content-Type: application/json'];
const entry = 'buildkit-v0.20.2';

test('a rebuild streams its log and says how it ended; it is found, read and rolled back (simulated images)', async () => {
  await using harness = await serve();
  const { api, url } = harness;
  const sent = [...json, '-d', '{"entry":"v0.20.2"}', `${url}/admin/images/rebuild`];
  const { exit, body, headers } = await curl(sent);
  assert.equal(exit, 0);
  const id = /Location: \/admin\/operations\/(\S+)/.exec(headers)?.[1] ?? '';
  assert.match(body, new RegExp(`^kiln: operation ${id}\nctr {2}${entry} v0\\.1\\.0 …\n`));
  assert.match(body, new RegExp(`\nkiln: operation ${id} succeeded after \\d+\\.\\d s\n$`));
  assert.match(headers, /X-Build-State: succeeded/);

  const { body: record } = await api.get(`/admin/operations/${id}`).expect(200);
  assert.equal(record.state, 'succeeded');
  const { body: list } = await api.get('/admin/operations').expect(200);
  assert.deepEqual(list, { operations: [record] });
  const log = await api.get(`/admin/operations/${id}/log?offset=3`).expect(200);
  assert.match(log.text, /^ {2}buildkit/);
  const events = await curl([`${url}/admin/operations/${id}/events?follow=true`]);
  assert.deepEqual(JSON.parse(events.body.trim().split('\n').at(-1) ?? '').type, 'verdict');
  const sse = await curl(['-H', 'Accept: text/event-stream', `${url}/admin/operations/${id}/events`]);
  const [, last = ''] = /id: (\d+)\nevent: verdict\n/.exec(sse.body) ?? [];
  const seen = { Accept: 'text/event-stream', 'Last-Event-ID': last };
  await api.get(`/admin/operations/${id}/events`).set(seen).expect(204);
  await api.head(`/admin/operations/${id}/log`).expect(200);
  assertProblem(await api.delete(`/admin/operations/${id}`), 409, 'OPERATION_ENDED');
  assertProblem(await api.post(`/admin/operations/${id}/resume`), 409, 'OPERATION_ENDED');
  const back = await api.post('/admin/images/rollback').send({ entry: 'v0.20.2' }).expect(200);
  assert.deepEqual([back.body.entry, back.body.version], [entry, null]);
});

test('what a rebuild made is told of by its operation (simulated images)', async () => {
  await using harness = await serve();
  const { api, url } = harness;
  const begin = async (version: string): Promise<string> => {
    const { body } = await api
      .post('/admin/images/rebuild')
      .send({ entry, version })
      .set('Prefer', 'respond-async');
    await api.get(`/admin/operations/${body.id}/events?follow=true`).expect(200);
    return `/admin/operations/${body.id}`;
  };
  const [operation, removed] = [await begin('v1.2.3'), await begin('v9.9.9')];
  for (const [kind, type] of [
    ['sbom', 'application/spdx+json; charset=utf-8'],
    ['provenance', 'application/vnd.dsse.envelope.v1+json; charset=utf-8'],
  ] as const) {
    const answer = await fetch(`${url}${operation}/${kind}`);
    assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, type]);
    assert.equal(await answer.text(), `{"${kind}": "of v1.2.3"}`);
    assertProblem(await api.get(`${removed}/${kind}`), 404, 'NOT_FOUND');
  }
});

test('a rebuild that fails cuts its answer off, after it said why (simulated images)', async () => {
  await using harness = await serve({ house: simulateHouse({ fail: 'tryOut' }) });
  const sent = [...json, '-d', '{"entry":"v0.20.2"}', `${harness.url}/admin/images/rebuild`];
  const { exit, body } = await curl(sent);
  assert.equal(exit, 18);
  assert.match(body, /kiln: operation \S+ failed after .*: The new image does not serve: tryOut failed\n$/);
});

test('a rebuild goes on when its client leaves, and can be begun without one (simulated images)', async () => {
  const house = simulateHouse();
  await using harness = await serve({ house });
  const { api, url } = harness;
  const release = house.hold();
  const sent = [...json, '-d', '{"entry":"v0.20.2"}', `${url}/admin/images/rebuild`];
  assert.equal((await curl(['--max-time', '1', ...sent])).exit, 28);
  const second = await api.post('/admin/images/rebuild').send({ entry: 'v0.20.2' });
  const problem = assertProblem(second, 409, 'REBUILD_RUNNING');
  const async = await api.post('/admin/images/rebuild').set('Prefer', 'respond-async');
  assertProblem(async, 415, 'CONTENT_TYPE');
  release();
  assert.match(
    problem.detail,
    /is being changed already, by operation \S+; wait for its end, or cancel it\.$/,
  );
  await api.get(`/admin/operations/${problem.operation}/events?follow=true`).expect(200);
  assert.deepEqual(house.served, [`${entry} v0.1.0`]);
  const accepted = await api
    .post('/admin/images/rebuild')
    .set('Prefer', 'respond-async')
    .send({ entry: 'v0.20.2', version: 'v3.0.0' })
    .expect(202);
  assert.equal(accepted.headers['location'], `/admin/operations/${accepted.body.id}`);
  await waitFor(() => house.served.length === 2, 'it is served too');
});

test('a rebuild that says nothing for long shows that it lives, in a line of its own (simulated images)', async () => {
  const house = simulateHouse();
  await using harness = await serve({ house, settings: { keepAliveMs: 20 } });
  const release = house.hold();
  setTimeout(release, 500);
  const sent = [...json, '-d', '{"entry":"v0.20.2"}', `${harness.url}/admin/images/rebuild`];
  const { exit, body } = await curl(sent);
  assert.equal(exit, 0);
  assert.match(body, /\n#1 \[base 1\/1\] the base\nkiln: still waiting \.+\ncheck {2}/);
});

test('what is no rebuild is refused in plain words (simulated images)', async () => {
  await using harness = await serve();
  const { api } = harness;
  const post = (body: string) =>
    api.post('/admin/images/rebuild').set('Content-Type', 'application/json').send(body);
  assertProblem(await post('{'), 400, 'BODY_INVALID');
  assertProblem(await post(`{"entry":"${'x'.repeat(20_000)}"}`), 400, 'BODY_INVALID');
  assertProblem(await post('{}'), 422, 'PARAM_INVALID');
  assertProblem(await post('{"entry":"v0.20.2","version":"1"}'), 422, 'PARAM_INVALID');
  assertProblem(await post('{"entry":"v0.20.2","force":true}'), 422, 'PARAM_INVALID');
  assertProblem(await post('{"entry":"v0.20.1234"}'), 404, 'BUILDKIT_UNKNOWN');
  assertProblem(await api.get('/admin/operations/x'), 404, 'NOT_FOUND');
  assertProblem(
    await api.post('/admin/images/rollback').send({ entry: 'v0.20.2' }),
    409,
    'NO_PREVIOUS_IMAGE',
  );
});
