import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { BuildState } from '../../src/grpc/generated/kiln/v1/build.ts';
import {
  ListBuildsRequest,
  type ListBuildsResponse,
} from '../../src/grpc/generated/kiln/v1/build_service.ts';
import { readListRequest } from '../../src/grpc/list.ts';
import type { PageRequest } from '../../src/model/build-filter.ts';
import { record, simulateBuilds } from '../simulated-builds.ts';
import { reasonOf, serve } from './harness.ts';

test('builds are listed page by page, as a filter says (simulated builds)', async () => {
  const asked: PageRequest[] = [];
  const builds = simulateBuilds();
  builds.list = async (_caller, request) => {
    asked.push(request);
    return { builds: [record], more: request.before === undefined };
  };
  await using harness = await serve(builds);
  const list = promisify<ListBuildsRequest, ListBuildsResponse>((request, done) =>
    harness.client.listBuilds(request, done),
  );
  const [since, until] = [new Date(1000), new Date(2500)];
  const states = [BuildState.BUILD_STATE_FAILED, BuildState.BUILD_STATE_QUEUED];
  const first = await list(ListBuildsRequest.create({ pageSize: 7, tag: 'app:1', states, since, until }));
  assert.deepEqual([first.builds.map(({ id }) => id), first.nextPageToken], [[record.id], record.id]);
  const second = await list(ListBuildsRequest.create({ pageToken: first.nextPageToken }));
  assert.equal(second.nextPageToken, '');
  const rest = { states: undefined, tag: undefined, since: undefined, until: undefined };
  assert.deepEqual(asked, [
    { limit: 7, tag: 'app:1', states: ['failed', 'queued'], since, until, before: undefined },
    { ...rest, limit: 20, before: record.id },
  ]);
  for (const bad of [
    { pageSize: 101 },
    { pageToken: "'" },
    { states: [BuildState.BUILD_STATE_UNSPECIFIED] },
    { states: [99 as BuildState] },
  ])
    await assert.rejects(
      list(ListBuildsRequest.create(bad)),
      (error) => reasonOf(error) === 'PARAM_INVALID',
      JSON.stringify(bad),
    );
  // More seconds than a Date takes.
  const never = new Date(1e18 * 1000);
  assert.throws(() => readListRequest(ListBuildsRequest.create({ since: never })), { code: 'PARAM_INVALID' });
});
