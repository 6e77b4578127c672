import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildScript } from '../../src/guest/guest-files.ts';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { type CheckBuild, checkBuilds, readCheckBuilds } from '../../src/operations/check-builds.ts';

const { signal } = new AbortController();
const check: CheckBuild = {
  name: '1-answer',
  dockerfile: Buffer.from('FROM scratch\n'),
  expected: { exitCode: 1, says: ['exit code: 42'] },
};

/** A VM whose buildctl prints this and exits with that; what it was started with is noted. */
function simulateVm(log: string, exitCode: number): { vm: WarmVm; started: string[] } {
  const started: string[] = [];
  const result = { exitCode, artifactExitCode: 0, artifactBytes: 0, ref: null, metadata: null };
  const once = async function* (text: string): AsyncGenerator<Buffer> {
    if (text !== '') yield Buffer.from(text);
  };
  const program = {
    send: () => ({
      stdout: once(`{"kiln":"ready"}\n{"kiln":${JSON.stringify(result)}}\n`),
      stderr: once(log),
      exitCode: Promise.resolve(0),
    }),
  };
  const other = { send: () => ({ stdout: once(''), stderr: once(''), exitCode: Promise.resolve(0) }) };
  const start = async (command: string) => {
    started.push(command);
    return command === buildScript ? program : other;
  };
  return { started, vm: { program, connection: { start }, capabilities: {} } as unknown as WarmVm };
}

test('builds that do what is expected are told one by one, each in a program of its own (simulated VM)', async () => {
  const { vm, started } = simulateVm('#5 ERROR: exit code: 42\n', 1);
  const lines: string[] = [];
  await checkBuilds(
    { vm, checks: [check, { ...check, name: '2-again' }] },
    (line) => lines.push(line),
    signal,
  );
  assert.deepEqual(
    lines.map((line) => line.replace(/[\d.]+ s$/, 'N s')),
    ['check  builds 1-answer in N s', 'check  builds 2-again in N s'],
  );
  assert.deepEqual(started, ['sh', buildScript, buildScript]);
});

for (const [title, log, exitCode, message] of [
  [
    'ends otherwise',
    'exit code: 42\n',
    0,
    /1-answer: buildctl exits with 0, not 1\. Its log ends:\nexit code: 42$/,
  ],
  ['says something else', 'exit code: 41\n', 1, /1-answer: its log does not say 'exit code: 42'\./],
] as const) {
  test(`a build that ${title} is none that serves (simulated VM)`, async () => {
    const { vm } = simulateVm(log, exitCode);
    const checked = checkBuilds({ vm, checks: [check] }, () => undefined, signal);
    await assert.rejects(checked, { code: 'CANARY_FAILED', message });
  });
}

test('the checks of this project: a copy, a step, one that fails, stages', async () => {
  const checks = await readCheckBuilds(fileURLToPath(new URL('../../images', import.meta.url)));
  assert.deepEqual(
    checks.map(({ name, expected }) => [name, expected.exitCode]),
    [
      ['1-copy', 0],
      ['2-run', 0],
      ['3-fail', 1],
      ['4-stages', 0],
    ],
  );
});
