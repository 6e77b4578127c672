import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findFailedStep } from '../../src/buildkit/failed-step.ts';
import { classifyFailure, type Evidence } from '../../src/builds/classify-failure.ts';
import { verdictOfError, verdictOfExit } from '../../src/builds/verdict.ts';
import { errorKinds, KilnError } from '../../src/model/error.ts';
import { classOfCode, type FailureClass, failureClasses } from '../../src/model/failure-class.ts';

const began = Date.parse('2026-11-28T01:00:00Z');
const nothing: Evidence = { failedStep: null, oomKills: 0, leastFreeBytes: 5e9, refusal: null };
const step = (name: string, error: string): Pick<Evidence, 'failedStep'> => ({
  failedStep: { name, error, started: began },
});
const run = step('[2/2] RUN make', 'process "/bin/sh -c make" did not complete successfully: exit code: 2');
const refused = (at: number): Pick<Evidence, 'refusal'> => ({
  refusal: { at, destination: 'db.lan:5432', reason: 'not-public' },
});
const metadata = '[internal] load metadata for registry.example/app:1';
const dial = 'failed to do request: Head "https://registry.example/v2/": dial tcp';

/** Each as BuildKit v0.20.2 says it. */
const cases: readonly [title: string, evidence: Partial<Evidence>, expected: FailureClass][] = [
  ['nothing but an exit code', {}, 'USER_ERROR'],
  ['a step that failed', run, 'USER_ERROR'],
  ['nobody looked at the disk', { ...run, leastFreeBytes: null }, 'USER_ERROR'],
  ['a process was killed for want of memory', { ...run, oomKills: 1 }, 'OOM'],
  ['a step that only says so', step('[2/2] RUN x', 'exit code: 137: cannot allocate memory'), 'USER_ERROR'],
  ['the disk was full', { ...run, leastFreeBytes: 4096 }, 'DISK_FULL'],
  ['a step that only says so, too', step('[2/2] RUN x', 'no space left on device'), 'USER_ERROR'],
  ['a connection was refused while the step ran', { ...run, ...refused(began + 5000) }, 'NETWORK_REFUSED'],
  ['a connection was refused to an earlier step', { ...run, ...refused(began - 60_000) }, 'USER_ERROR'],
  ['a connection was refused to who knows which', refused(began), 'NETWORK_REFUSED'],
  [
    'a registry that the rules close',
    { ...step(metadata, `${dial}: lookup registry.example: no such host`), ...refused(began + 10) },
    'NETWORK_REFUSED',
  ],
  [
    'a registry that is down',
    step(metadata, `${dial} 198.18.0.1:443: connect: connection refused`),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'a registry that does not exist',
    step(metadata, `${dial}: lookup registry.example: no such host`),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'a registry that is overloaded',
    step(metadata, 'unexpected status from HEAD request to http://r/v2/: 503 Service Unavailable'),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'a registry that has had enough of us',
    step(metadata, 'unexpected status: 429 Too Many Requests'),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'a registry that breaks off',
    step('[1/2] FROM registry.example/app:1@sha256:00', 'failed to copy: httpReadSeeker: unexpected EOF'),
    'REGISTRY_UNAVAILABLE',
  ],
  [
    'a registry that wants an account',
    step(metadata, 'unexpected status from HEAD request to https://r/v2/: 401 Unauthorized'),
    'REGISTRY_AUTH',
  ],
  [
    'a registry with another account',
    step(
      metadata,
      'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    ),
    'REGISTRY_AUTH',
  ],
  [
    'a frontend behind an account',
    step('resolve image config for docker-image://r/f:1', 'unexpected status: 403 Forbidden'),
    'REGISTRY_AUTH',
  ],
  ['an image that is not there', step(metadata, 'registry.example/app:1: not found'), 'USER_ERROR'],
  [
    'an image that is called 401',
    step('[internal] load metadata for r/401:503', 'r/401:503: not found'),
    'USER_ERROR',
  ],
  [
    'a step that prints what registries say',
    step('[2/2] RUN echo 401 Unauthorized', 'exit code: 1'),
    'USER_ERROR',
  ],
  [
    'a step that is written as registries speak',
    step('[2/2] RUN curl', 'process "dial tcp: connection refused 401 Unauthorized" did not complete'),
    'USER_ERROR',
  ],
];

for (const [title, evidence, expected] of cases)
  test(`what kind of failure: ${title}`, () =>
    assert.equal(classifyFailure({ ...nothing, ...evidence }), expected));

test('every class comes from somewhere, and every code has one', () => {
  const seen = new Set([...cases.map(([, , expected]) => expected), ...Object.values(classOfCode)]);
  assert.deepEqual([...seen].sort(), [...failureClasses].sort());
  assert.deepEqual(Object.keys(classOfCode).sort(), Object.keys(errorKinds).sort());
});

test('a verdict names what was too little, and the step', () => {
  const exit = { ...nothing, ...run, exitCode: 1, missingFrontend: null, memoryMiB: 2048, diskBytes: 7e9 };
  const oom = verdictOfExit({ ...exit, oomKills: 2 });
  assert.equal(oom.failureClass, 'OOM');
  assert.match(oom.message, /\[2\/2\] RUN make .*2048 MiB.*KILN_VM_MEMORY_MIB/);
  assert.match(
    verdictOfExit({ ...exit, leastFreeBytes: 0 }).message,
    /7000000000 bytes \(KILN_VM_DISK_BYTES\)/,
  );
  const network = verdictOfExit({ ...exit, ...refused(began) });
  assert.match(network.message, /RUN make was refused a connection to db\.lan:5432, not-public/);
  assert.deepEqual(verdictOfExit({ ...exit, oomKills: 2, exitCode: 0 }), {
    ...{ state: 'succeeded', exitCode: 0, code: null, failureClass: null },
    message: 'The build succeeded.',
  });
});

test('what ends a build from outside has the class of its code', () => {
  const classOf = (...[code, message]: ConstructorParameters<typeof KilnError>) =>
    verdictOfError(new KilnError(code, message)).failureClass;
  assert.equal(classOf('TIMEOUT', 'too long'), 'TIMEOUT');
  assert.equal(classOf('CANCELLED', 'enough'), 'CANCELLED');
  assert.equal(classOf('DISK_FULL', 'full'), 'DISK_FULL');
  assert.equal(verdictOfError(new Error('odd')).failureClass, 'INFRA');
});

test('the step that failed is the first that BuildKit names, and not one that ended with it', () => {
  const started = '2026-11-28T01:00:00.123456789Z';
  const name = `[2/2] RUN ${'x'.repeat(500)}\u001b[31m`;
  const found = findFailedStep({
    vertexes: [
      { name: 'a', started, completed: started },
      { name: 'b', error: 'process did not complete: context canceled' },
      { name, started, error: `${'y'.repeat(5000)} exit code: 1` },
    ],
  });
  assert.equal(found?.name, `${name.slice(0, 200)}…`);
  assert.equal(found?.started, began + 123);
  assert.match(found?.error ?? '', /^y{987} exit code: 1$/);
  for (const odd of [null, {}, { vertexes: 1 }, { vertexes: [{ name: 'a' }] }])
    assert.equal(findFailedStep(odd), null);
});
