import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Builds } from '../../src/model/builds.ts';
import { record } from '../simulated-builds.ts';
import { assertProblem, serve } from './harness.ts';

test('the list is paged by a Link to the next page (simulated builds)', async () => {
  const records = Array.from({ length: 5 }, (_, index) => ({
    ...record,
    id: record.id.replace(/.$/, `${9 - index}`),
  }));
  const list: Builds['list'] = async (_caller, { limit, before }) => {
    const start = before === undefined ? 0 : records.findIndex(({ id }) => id === before) + 1;
    const builds = records.slice(start, start + limit);
    return { builds, more: start + builds.length < records.length };
  };
  await using harness = await serve({ overrides: { list } });
  const seen: string[] = [];
  let pages = 0;
  for (let path: string | undefined = '/v1/builds?limit=2'; path !== undefined; pages += 1) {
    const { headers, body } = await harness.api.get(path);
    for (const { id } of body.builds) seen.push(id);
    path = /^<(.+)>; rel="next"$/.exec(String(headers['link']))?.[1];
  }
  assert.deepEqual(
    seen,
    records.map(({ id }) => id),
  );
  assert.equal(pages, 3);
  for (const query of [
    'limit=0',
    'limit=101',
    'limit=x',
    'cursor=x',
    'state=',
    'state=failed,none',
    'since=now',
  ])
    assertProblem(await harness.api.get(`/v1/builds?${query}`), 422, 'PARAM_INVALID');
  for (const query of ['before=x', 'limit=1&limit=2', 'tag=a&tag=b'])
    assert.notEqual((await harness.api.get(`/v1/builds?${query}`)).status, 200, query);
});

test('the list is of some states, a name and a time; so is its next page (simulated builds)', async () => {
  const asked: unknown[] = [];
  const list: Builds['list'] = async (_caller, request) => {
    asked.push(request);
    return { builds: [record], more: true };
  };
  await using harness = await serve({ overrides: { list } });
  const query =
    'state=failed,queued&tag=app:1%262&since=2026-01-02T03:04:05%2B01:00&until=2026-01-03T00:00:00Z';
  const { headers } = await harness.api.get(`/v1/builds?${query}`).expect(200);
  const next = /^<(.+)>; rel="next"$/.exec(String(headers['link']))?.[1];
  await harness.api.get(String(next)).expect(200);
  const filter = {
    ...{ limit: 20, states: ['failed', 'queued'], tag: 'app:1&2' },
    ...{ since: new Date('2026-01-02T02:04:05Z'), until: new Date('2026-01-03T00:00:00Z') },
  };
  assert.deepEqual(asked, [
    { ...filter, before: undefined },
    { ...filter, before: record.id },
  ]);
});
