import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBuildMask } from '../../../src/logs/mask/build-mask.ts';
import { BuildSecrets } from '../../../src/model/build-secrets.ts';

const secret = 'correct-horse-battery';
const secrets = BuildSecrets.of({ secrets: [{ id: 'a', value: Buffer.from(secret) }] });
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const log = (vertex: string, text: string, stream = 1) => ({
  vertex,
  stream,
  data: base64(text),
  timestamp: 't',
});
const textOf = (status: unknown): string =>
  ((status as { logs?: { data: string }[] } | null)?.logs ?? [])
    .map(({ data }) => Buffer.from(data, 'base64').toString())
    .join('');

test("a step's output is masked across statuses, and not mixed with that of another step", () => {
  const mask = createBuildMask(secrets);
  const statuses = [
    mask.status({ logs: [log('v1', 'say correct-ho'), log('v2', 'rse-battery is not it\n')] }),
    mask.status({ logs: [log('v1', 'rse-bat', 2), log('v1', 'rse-battery.\n')] }),
    mask.end().status,
  ];
  assert.equal(statuses.map(textOf).join('|'), 'say rse-battery is not it\n|rse-bat***.\n|');
});

test('what a step held comes with its end, and at the end of all', () => {
  const mask = createBuildMask(secrets);
  assert.equal(textOf(mask.status({ logs: [log('v1', 'correct-'), log('v2', 'correct')] })), '');
  const ended = mask.status({ vertexes: [{ digest: 'v1', completed: 't' }] });
  assert.equal(textOf(ended), 'correct-');
  assert.deepEqual((ended as { vertexes: object }).vertexes, [{ digest: 'v1', completed: 't' }]);
  assert.equal(textOf(mask.end().status), 'correct');
});

test('names, errors and warnings are masked, those in base64 in there; numbers and order stay', () => {
  const mask = createBuildMask(secrets);
  const status = {
    vertexes: [{ digest: 'v', name: `RUN echo ${secret}`, error: `exit 1: ${secret}`, inputs: ['x'] }],
    warnings: [{ level: 1, short: base64(`bad ${secret}`), detail: [base64('fine')] }],
  };
  assert.deepEqual(mask.status(status), {
    vertexes: [{ digest: 'v', name: 'RUN echo ***', error: 'exit 1: ***', inputs: ['x'] }],
    warnings: [{ level: 1, short: base64('bad ***'), detail: [base64('fine')] }],
  });
});

test('without secrets a status is the same object, and odd ones are as they were', () => {
  const status = { logs: [log('v', 'x')] };
  assert.equal(createBuildMask(BuildSecrets.none).status(status), status);
  const mask = createBuildMask(secrets);
  for (const odd of [null, 3, 'x', [secret], { logs: 3 }, { logs: [{ data: 3 }] }])
    assert.deepEqual(
      mask.status(odd),
      odd === null || typeof odd !== 'object' || !Array.isArray(odd) ? odd : ['***'],
    );
});

test('a guest that makes kiln hold output of very many steps is stopped', () => {
  const mask = createBuildMask(secrets);
  const logs = Array.from({ length: 5000 }, (_, index) => log(`v${index}`, 'corr'));
  assert.throws(() => mask.status({ logs }), { code: 'INFRA' });
});
