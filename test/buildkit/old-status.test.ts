import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusSchema } from '../../src/buildkit/history/solve-status.ts';
import { asToday } from '../../src/buildkit/old-status.ts';

const digest = 'sha256:24f515a37070a9d384f0686da968860257a0b03216ee8e440446a28c05da062a';
const time = '2026-11-27T11:23:27.03914164Z';

test('a status of BuildKit v0.10 and v0.12 reads like one of today', () => {
  // As `buildctl build --trace` of v0.12.5 wrote it.
  const old = {
    Vertexes: [
      {
        ...{ Digest: digest, Inputs: null, Name: '[internal] load .dockerignore', Started: time },
        ...{ Completed: null, Cached: false, Error: '', ProgressGroup: null },
      },
    ],
    Statuses: [{ ID: 'extracting', Vertex: digest, Name: '', Total: 0, Current: 82, Timestamp: time }],
    Logs: [{ Vertex: digest, Stream: 1, Data: 'aGkK', Timestamp: time }],
    Warnings: [{ Vertex: digest, Level: 1, Short: 'bHU=', Detail: null, URL: 'x', SourceInfo: null }],
  };
  const today = {
    vertexes: [{ digest, name: '[internal] load .dockerignore', started: time }],
    statuses: [{ id: 'extracting', vertex: digest, total: 0, current: 82, timestamp: time }],
    logs: [{ vertex: digest, stream: 1, data: 'aGkK', timestamp: time }],
    warnings: [{ vertex: digest, level: 1, short: 'bHU=', url: 'x' }],
  };
  assert.deepEqual(asToday(old), today);
  assert.deepEqual(asToday(today), today);
  assert.deepEqual(statusSchema.parse(asToday(old)), today);
  assert.deepEqual(asToday({ ...old, Logs: null, Warnings: null }), {
    vertexes: today.vertexes,
    statuses: today.statuses,
  });
});

test('what is no status stays what it is', () => {
  for (const other of [null, 'x', 7, [], { kiln: 'ready' }, { Vertex: 1 }])
    assert.deepEqual(asToday(other), other);
  assert.deepEqual(asToday({ Vertexes: 'x', Logs: [null, 'y'] }), { logs: [null, 'y'] });
});
