import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseStatus } from '../../src/buildkit/parse-status.ts';
import { splitStatus } from '../../src/buildkit/split-status.ts';

const MiB = 1024 * 1024;
const digest = `sha256:${'a'.repeat(64)}`;
const timestamp = '2026-01-01T00:00:00.123456789Z';

type Status = Record<'vertexes' | 'statuses' | 'logs' | 'warnings', unknown[]>;

/** As BuildKit sends them when a step prints much: many pieces of a few bytes, or few of 32 KiB. */
function statusOf(logs: number, bytes: number): Status {
  const data = Buffer.alloc(bytes, 'x').toString('base64');
  const vertexes = [{ digest, inputs: [digest], name: '[1/2] RUN "[,{}]"', started: timestamp }];
  const entries = Array.from({ length: logs }, (_, index) => ({
    vertex: digest,
    stream: 1 + (index % 2),
    data,
  }));
  return {
    vertexes: vertexes.map((vertex) => ({ ...vertex, cached: false })),
    statuses: [{ id: 'layer', vertex: digest, current: 1, timestamp }],
    logs: entries.map((entry) => ({ ...entry, timestamp })),
    warnings: [],
  };
}

for (const [what, status] of [
  ['many small pieces', statusOf(30_000, 1)],
  ['few large pieces', statusOf(60, 32 * 1024)],
] as const) {
  test(`a large status of ${what} is taken, and becomes several that say the same`, () => {
    const line = Buffer.from(JSON.stringify(status));
    assert.ok(line.length > 2 * MiB);
    const parts = [...splitStatus(parseStatus(line), line.length)] as Partial<Status>[];
    const joined = (name: keyof Status): unknown[] => parts.flatMap((part) => part[name] ?? []);
    assert.deepEqual(joined('vertexes'), status.vertexes);
    assert.deepEqual(joined('statuses'), status.statuses);
    assert.deepEqual(joined('logs'), status.logs);
    for (const part of parts) assert.ok(JSON.stringify(part).length < 0.5 * MiB);
  });
}

test('a status of usual size stays as it is, whatever it holds', () => {
  const status = { ...statusOf(10, 100), other: null };
  assert.deepEqual([...splitStatus(status, 10_000)], [status]);
});

const hostile: Record<string, string> = {
  'one piece of 2 MiB': JSON.stringify({ logs: [{ vertex: digest, data: 'x'.repeat(2 * MiB), timestamp }] }),
  'a list that is none': JSON.stringify({ logs: 'x'.repeat(MiB) }),
  'what BuildKit has no word for': JSON.stringify({ vertexes: [], junk: 'x'.repeat(MiB) }),
  'no object': JSON.stringify(Array.from({ length: 20 }, () => 'x'.repeat(MiB / 10))),
};
for (const [what, text] of Object.entries(hostile)) {
  test(`a large status of ${what} is refused`, () => {
    assert.throws(() => [...splitStatus(parseStatus(Buffer.from(text)), text.length)], { code: 'INFRA' });
  });
}

for (const part of ['[],', '{},', '1,', '"\\\\",', '"\\"",']) {
  test(`a line of nothing but ${part} is refused before it is read, which would take many times its size`, () => {
    const line = Buffer.from(`[${part.repeat(MiB)}0]`);
    assert.throws(() => parseStatus(line), { code: 'INFRA', message: /far more parts/ });
  });
}

test('what is within a string is no part, wherever that ends', () => {
  for (const text of [
    '[,{'.repeat(100_000),
    '\\'.repeat(100_000),
    '"[,'.repeat(100_000),
    'x'.repeat(300_000),
  ])
    assert.deepEqual(parseStatus(Buffer.from(JSON.stringify({ text }))), { text });
  assert.throws(() => parseStatus(Buffer.from(`"${',['.repeat(100_000)}`)), SyntaxError);
});
