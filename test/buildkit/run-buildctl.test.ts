import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type BuildctlResult, runBuildctl } from '../../src/buildkit/run-buildctl.ts';
import { raceAbort } from '../../src/lib/abort.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { StartedCommand } from '../../src/ssh/exec.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

const { signal } = new AbortController();
const end = '{"kiln":{"exitCode":0,"artifactExitCode":0,"artifactBytes":0,"metadata":null}}\n';

type Heard = { readonly log: string[]; readonly statuses: unknown[]; ready: number; result: BuildctlResult };

/** What the build is makes no difference here. */
const anyBuild = {
  ...{ capabilities, spec: parseSpec({}), contextDisk: null, artifactDisk: null, dockerfile: null },
  start: (): never => assert.fail('no other command is run'),
  onContextReady: async () => undefined,
  onHistoryLost: assert.fail,
};

/** A guest that says exactly this; a real one says only what its buildctl lets it. */
async function hear(stdout: string, stderr = ''): Promise<Heard> {
  const chunks = async function* (text: string): AsyncGenerator<Buffer> {
    // In pieces, as a connection delivers them.
    const step = text.length > 100_000 ? 32_768 : 7;
    for (let at = 0; at < text.length; at += step) yield Buffer.from(text.slice(at, at + step));
  };
  const program: StartedCommand = {
    send: () => ({ stdout: chunks(stdout), stderr: chunks(stderr), exitCode: Promise.resolve(0) }),
  };
  const heard: Omit<Heard, 'result'> = { log: [], statuses: [], ready: 0 };
  const result = await runBuildctl(
    program,
    {
      ...anyBuild,
      onLog: async (bytes) => void heard.log.push(bytes.toString()),
      onStatus: async (status) => void heard.statuses.push(status),
      onContextReady: async () => {
        heard.ready += 1;
      },
    },
    signal,
  );
  return { ...heard, result };
}

test('with a guest simulated: a status is passed on, "ready" counts once however often it is said', async () => {
  const { ready, statuses, result } = await hear(
    `${'{"kiln":"ready"}\n'.repeat(1000)}{"vertexes":[]}\n\n${end}`,
  );
  assert.equal(ready, 1);
  assert.deepEqual(statuses, [{ vertexes: [] }]);
  assert.deepEqual(result, {
    ...{ exitCode: 0, artifactBytes: 0, imageDigest: null, missingFrontend: null, warnings: [] },
    ...{ oomKills: 0, leastFreeBytes: null },
  });
});

test('with a guest simulated: a frontend that cannot be pulled is named, as BuildKit v0.20.2 says it; a base image is none', async () => {
  const fails = (name: string): string => `${JSON.stringify({ vertexes: [{ name, error: 'not found' }] })}\n`;
  const missing = async (stdout: string): Promise<string | null> =>
    (await hear(`${stdout}\n${end}`)).result.missingFrontend;
  const syntax = 'docker-image://docker.io/docker/dockerfile:1';
  assert.equal(await missing(fails(`resolve image config for ${syntax}`)), 'docker.io/docker/dockerfile:1');
  assert.equal(await missing(fails(`${syntax}@sha256:00`)), 'docker.io/docker/dockerfile:1@sha256:00');
  assert.equal(await missing(fails('[internal] load metadata for docker.io/library/busybox:latest')), null);
  assert.equal(await missing(`${JSON.stringify({ vertexes: [{ name: syntax }] })}\n`), null);
  assert.equal(await missing(fails('docker-image://a\u001b[31m')), 'a\\u001b[31m');
});

test("with a guest simulated: the log is buildctl's, without the line that only kiln's trace causes", async () => {
  const notice = 'time="2026-01-02T03:04:05Z" level=info msg="tracing logs to trace"\n';
  assert.equal((await hear(end, `${notice}#1 x\n`)).log.join(''), '#1 x\n');
  assert.equal((await hear(end, `#1 x\n${notice}`)).log.join(''), `#1 x\n${notice}`);
  assert.equal((await hear(end, 'no line feed')).log.join(''), 'no line feed');
});

for (const [what, stdout, code] of [
  ['a buildctl that could not be started', '{"kiln":{"problem":"the disk did not appear"}}\n', 'INFRA'],
  ['no end', '{"kiln":"ready"}\n', 'INFRA'],
  ['no JSON', `{\n${end}`, 'INFRA'],
  ['a line that is longer than any of BuildKit', `"${'x'.repeat(9 * 1024 * 1024)}"\n${end}`, 'INFRA'],
  ['an exit code that is none', end.replace('"exitCode":0', '"exitCode":-1'), 'INFRA'],
  [
    'an artifact that is larger than its disk',
    end.replace('"artifactExitCode":0', '"artifactExitCode":1'),
    'DISK_FULL',
  ],
] as const) {
  test(`with a guest simulated: ${what} is ${code}`, async () => {
    await assert.rejects(hear(stdout), { code });
  });
}

/** Two streams and an exit code that go on until they are given up, but for what is said here. */
function createEndless({ stdout, stderr }: { stdout: string; stderr: string }): StartedCommand {
  return {
    send(_input, linked) {
      const never = raceAbort(new Promise<never>(() => undefined), linked);
      async function* say(text: string): AsyncGenerator<Buffer> {
        yield Buffer.from(text);
        yield await never;
      }
      return { stdout: say(stdout), stderr: say(stderr), exitCode: never };
    },
  };
}

test('with a guest simulated: when its trace fails, the run ends after the log that was being written, and writes no more', async () => {
  const said: string[] = [];
  const program = createEndless({ stdout: '{\n', stderr: '#1 x\n' });
  const run = runBuildctl(
    program,
    {
      ...anyBuild,
      onLog: async () => {
        said.push('log begun');
        for (let turn = 0; turn < 10; turn += 1) await setImmediate();
        said.push('log written');
      },
      onStatus: assert.fail,
    },
    signal,
  );
  await assert.rejects(run, { code: 'INFRA', message: /not JSON/ });
  assert.deepEqual(said, ['log begun', 'log written']);
});

test('with a guest simulated: a long trace does not hold up the end of a build that is cancelled', async () => {
  const cancel = new AbortController();
  const reason = new Error('cancelled');
  let statuses = 0;
  const run = runBuildctl(
    createEndless({ stdout: '{"vertexes":[]}\n'.repeat(1000), stderr: '' }),
    {
      ...anyBuild,
      onLog: () => assert.fail(),
      onStatus: async () => {
        statuses += 1;
        cancel.abort(reason);
      },
    },
    cancel.signal,
  );
  await assert.rejects(run, reason);
  assert.equal(statuses, 1);
});
