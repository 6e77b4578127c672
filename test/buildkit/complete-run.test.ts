import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type BuildctlResult, runBuildctl } from '../../src/buildkit/run-buildctl.ts';
import { raceAbort } from '../../src/lib/abort.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { StartedCommand } from '../../src/ssh/exec.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

const { signal } = new AbortController();
const ref = 'xyrhojc6h4w2hyqvqfzmgsval';
const digest = `sha256:${'a'.repeat(64)}`;
const givingUp = 'error: failed to receive status: rpc error: code = Canceled desc = context canceled\n';
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const time = (second: number): string => `2026-01-01T00:00:0${second}.500000000Z`;

/** Two steps as BuildKit v0.20.2 tells of them: the end of a step comes before its last lines. */
const run = { digest: 'sha256:1', name: '[2/2] RUN seq 1 5', started: time(1), completed: time(3) };
const load = { digest: 'sha256:0', name: '[internal] load', started: time(0), completed: time(1) };
const exporting = { digest: 'sha256:2', name: 'exporting to image', started: time(3), completed: time(4) };
const logOf = (text: string): object => ({
  vertex: run.digest,
  stream: 1,
  data: base64(text),
  timestamp: time(2),
});
const history = [
  { vertexes: [load, run], logs: [logOf('1\n2\n3')] },
  { logs: [logOf('3\n4\n\u00fc')] },
  { logs: [logOf('\n')], warnings: [{ vertex: run.digest, short: base64('late') }] },
  {
    vertexes: [exporting],
    statuses: [
      {
        id: 'writing layers',
        vertex: exporting.digest,
        total: 2_500_000,
        current: 2_500_000,
        started: time(3),
        completed: time(4),
      },
    ],
  },
  {},
];
/** What buildctl had read when it gave up. */
const heard = [{ vertexes: [load, run], logs: [logOf('1\n2')] }];
const printed = '#1 [internal] load\n#1 DONE 1.0s\n\n#2 [2/2] RUN seq 1 5\n#2 1.000 1\n#2 1.000 2';
const missing = [
  ...[
    '',
    '#2 [2/2] RUN seq 1 5',
    '#2 1.000 2',
    '#2 1.000 33',
    '#2 1.000 4',
    '#2 1.000 \u00fc',
    '#2 WARN: late',
    '#2 DONE 2.0s',
  ],
  ...['', '#3 exporting to image', '#3 writing layers 2.50MB / 2.50MB 1.0s done', '#3 DONE 1.0s', ''],
].join('\n');

const recordOf = (fields: object): string =>
  `${JSON.stringify({ type: 1, record: { Ref: ref, ...fields } })}\n`;
const ended = { CompletedAt: { seconds: 1 } };
const others = `${JSON.stringify({ type: 1, record: { Ref: 'other', ...ended } })}\n`;
const success = recordOf({ ...ended, ExporterResponse: { 'containerimage.digest': digest } });

type Guest = {
  exitCode?: number;
  stderr: string;
  records?: string;
  statuses?: readonly object[];
  ref?: string;
  /** What it sends of its history in place of `statuses`. */
  historyText?: string;
  /** Says nothing of its history, and does not end; told once it is asked. */
  hangs?: () => void;
};

type Heard = {
  log: string;
  statuses: unknown[];
  asked: string[];
  /** Why its history could not be read. */
  lost: unknown[];
  result: BuildctlResult;
};

/** A guest that says exactly this when buildctl ends, and when it is asked for its history; a real one is in test/e2e. */
async function hear(guest: Guest): Promise<Heard> {
  const answer = (stdout: string, stderr = '') => ({
    send: () => ({ stdout: bytewise(stdout), stderr: bytewise(stderr), exitCode: Promise.resolve(0) }),
  });
  const end = {
    exitCode: guest.exitCode ?? 1,
    artifactExitCode: 0,
    artifactBytes: 0,
    ref: guest.ref ?? ref,
    metadata: null,
  };
  const trace = [...heard, { kiln: end }].map((line) => `${JSON.stringify(line)}\n`).join('');
  const [log, statuses, asked, lost]: [Buffer[], unknown[], string[], unknown[]] = [[], [], [], []];
  const result = await runBuildctl(
    answer(trace, guest.stderr),
    {
      ...{ capabilities, spec: parseSpec({}), contextDisk: null, artifactDisk: null, dockerfile: null },
      async start(command) {
        asked.push(command);
        if (guest.hangs) return silent(guest.hangs);
        const told = (guest.statuses ?? history).map((status) => `${JSON.stringify(status)}\n`).join('');
        const logs = guest.historyText ?? told;
        return answer(command.includes(' histories ') ? (guest.records ?? '') : logs);
      },
      onLog: async (bytes) => void log.push(bytes),
      onStatus: async (status) => void statuses.push(status),
      onContextReady: async () => undefined,
      onHistoryLost: (error) => void lost.push(error),
    },
    signal,
  );
  return { log: Buffer.concat(log).toString(), statuses, asked, lost, result };
}

/** A command that says nothing and goes on until it is given up. */
function silent(onAsked: () => void): StartedCommand {
  return {
    send(_input, signal) {
      const never = raceAbort(new Promise<never>(() => undefined), signal);
      async function* nothing(): AsyncGenerator<Buffer> {
        onAsked();
        yield await never;
      }
      return { stdout: nothing(), stderr: nothing(), exitCode: never };
    },
  };
}

async function* bytewise(text: string): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  const step = bytes.length > 100_000 ? 32_768 : 7;
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

test('with a guest simulated: a build that buildctl gave up reading of succeeded where BuildKit says so, and its log is whole', async () => {
  const { log, statuses, result } = await hear({ stderr: printed + givingUp, records: others + success });
  assert.equal(log, `${printed}\n${missing}`);
  assert.deepEqual([result.exitCode, result.imageDigest, result.warnings.length], [0, digest, 2]);
  assert.deepEqual(statuses.slice(1), [{ logs: [logOf('\n3')] }, ...history.slice(1, -1)]);
});

test('with a guest simulated: a build that failed stays failed, and the rest of its log follows', async () => {
  const error = '\nerror: failed to solve: exit code: 3\n';
  const { log, asked, result } = await hear({ stderr: printed + error });
  assert.equal(log, `${printed}${error}${missing}`);
  assert.deepEqual([result.exitCode, result.warnings.length], [1, 1]);
  assert.deepEqual(asked, [`buildctl debug logs --progress=rawjson ${ref}`]);
});

test('with a guest simulated: where BuildKit recorded an error buildctl is believed, its last words included', async () => {
  const records = recordOf({ ...ended, error: { code: 2, message: 'exit code: 3' } });
  const { log, result } = await hear({ stderr: printed + givingUp, records });
  assert.equal(log, `${printed}\n${missing}${givingUp}`);
  assert.equal(result.exitCode, 1);
});

for (const [what, records] of [
  ['has no record', others],
  ['has no history', 'No help topic for histories\n'],
  ['has not ended the build', recordOf({})],
] as const) {
  test(`with a guest simulated: where BuildKit ${what}, nobody knows how the build ended: INFRA`, async () => {
    const guest = { stderr: printed + givingUp, records, statuses: [] };
    await assert.rejects(hear(guest), { code: 'INFRA', message: /has no record/ });
  });
}

test("with a guest simulated: a step's own line in buildctl's words is a line like any other", async () => {
  const stderr = `${printed}\n#2 1.000 ${givingUp}#2 DONE 1.0s\n`;
  assert.equal((await hear({ exitCode: 0, stderr })).log, stderr);
  const { log, asked } = await hear({ exitCode: 0, stderr: `#1 x\n${givingUp}` });
  assert.deepEqual([log, asked], [`#1 x\n${givingUp}`, []]);
});

test('with a guest simulated: an id that is none reaches no shell, and a log that was whole stays as it is', async () => {
  const { asked } = await hear({ stderr: printed, ref: '$(reboot)' });
  assert.deepEqual(asked, []);
  const { log, result } = await hear({ stderr: `${printed}\n`, statuses: heard });
  assert.deepEqual([log, result.exitCode, result.warnings], [`${printed}\n`, 1, []]);
});

test('with a guest simulated: a history that cannot be read to its end leaves the verdict as it is, with a warning', async () => {
  const historyText = `${JSON.stringify(history[0])}\n${'x'.repeat(8 * 1024 * 1024 + 8)}`;
  const failed = await hear({ stderr: `${printed}\nerror: exit code: 3\n`, historyText });
  assert.equal(failed.result.exitCode, 1);
  assert.match(failed.result.warnings.join(), /could not be read to its end/);
  assert.match(failed.log, /#2 1.000 3\n#2 DONE 2.0s\n$/);
  assert.match(String(failed.lost), /^KilnError: .*longer than 8388608 bytes/);
  const succeeded = await hear({ stderr: printed + givingUp, records: success, historyText });
  assert.deepEqual([succeeded.result.exitCode, succeeded.result.imageDigest], [0, digest]);
  assert.equal(succeeded.lost.length, 1);
});

test('with a guest simulated: where what decides the verdict cannot be read, nobody knows how the build ended: INFRA', async () => {
  const records = `${success}${'x'.repeat(8 * 1024 * 1024 + 8)}`;
  await assert.rejects(hear({ stderr: printed + givingUp, records }), {
    code: 'INFRA',
    message: /longer than 8388608 bytes/,
  });
});

for (const [what, guest] of [
  ['leaves the verdict that is known as it is', { stderr: `${printed}\nerror: exit code: 3\n` }],
  ['is INFRA where it decides the verdict', { stderr: printed + givingUp }],
] as const) {
  test(`with a guest simulated: a guest that hangs when it is asked for its history ${what}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const heard = hear({ ...guest, hangs: resolve });
    heard.catch(() => undefined);
    await asked;
    await setImmediate();
    t.mock.timers.tick(60_000);
    if (guest.stderr.endsWith(givingUp)) {
      await assert.rejects(heard, { code: 'INFRA', message: /said nothing .* for 60 s/ });
    } else {
      const { result, lost } = await heard;
      assert.equal(result.exitCode, 1);
      assert.match(String(lost), /^KilnError: .*said nothing .* for 60 s/);
    }
  });
}
