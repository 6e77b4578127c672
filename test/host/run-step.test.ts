import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runStep } from '../../src/host/run-step.ts';
import { createSmallDisk } from '../small-disk.ts';
import { tied } from '../tied.ts';

const progress = (): void => undefined;
let logDirectory: string;

before(async () => {
  logDirectory = await mkdtemp(join(tmpdir(), 'kiln-run-'));
});
after(() => rm(logDirectory, { recursive: true }));

test('a step that fails names its log and its last lines', async () => {
  const context = { logDirectory, progress, signal: new AbortController().signal, name: 'failing' };
  const script = 'seq 1 40; echo "no space left" >&2; exit 3';
  const logFile = join(logDirectory, 'failing.log');
  await assert.rejects(runStep('sh', ['-c', script], context), (error: Error) => {
    assert.match(error.message, /^sh exited with 3\./);
    assert.ok(error.message.includes(logFile));
    assert.match(error.message, /\n40\nno space left$/);
    assert.doesNotMatch(error.message, /\n12\n/);
    return true;
  });
  assert.match(await readFile(logFile, 'utf8'), /^1\n2\n/);
});

test('a value of a variable reaches the step as it is', async () => {
  const context = { logDirectory, progress, signal: new AbortController().signal, name: 'variable' };
  await runStep('sh', ['-c', 'printf %s "$GIVEN"'], { ...context, env: { GIVEN: "a 'b' $(c)\n" } });
  assert.equal(await readFile(join(logDirectory, 'variable.log'), 'utf8'), "a 'b' $(c)\n");
});

test('a step whose log cannot be opened fails with the log named, and kiln goes on', async () => {
  const context = { logDirectory, progress, signal: new AbortController().signal, name: 'folder' };
  await mkdir(join(logDirectory, 'folder.log'));
  const running = runStep('sh', ['-c', 'echo hello'], context);
  await assert.rejects(running, {
    name: 'KilnError',
    code: 'INFRA',
    message: /folder\.log cannot be written: EISDIR/,
  });
  await runStep('true', [], { ...context, name: 'next' });
});

test('a step without room for its log says that the disk is full', async () => {
  await using disk = await createSmallDisk(1, { inodes: 2 });
  await writeFile(join(disk.path, 'last'), '');
  const context = { logDirectory: join(disk.path, 'logs'), progress, signal: new AbortController().signal };
  await assert.rejects(runStep('true', [], { ...context, name: 'full' }), {
    code: 'STORAGE_FULL',
    message: /full\.log cannot be written: ENOSPC/,
  });
});

test('a step whose log fills the disk ends as the program ends that wrote it', async () => {
  await using disk = await createSmallDisk(1);
  const context = {
    logDirectory: disk.path,
    progress,
    signal: new AbortController().signal,
    name: 'filling',
  };
  const running = runStep('sh', ['-c', 'set -e; yes | head -c 2000000; exit 0'], context);
  await assert.rejects(running, { code: 'INFRA', message: /^sh exited with 1\./ });
});

test('a program that is not there is a failed step', async () => {
  const context = { logDirectory, progress, signal: new AbortController().signal, name: 'missing' };
  await assert.rejects(runStep('/nowhere/program', [], context), {
    code: 'INFRA',
    message: /\/nowhere\/program: not found/,
  });
});

test('an interrupted step ends with all that it started', async () => {
  const controller = new AbortController();
  const reason = new Error('stop');
  const context = { logDirectory, progress, signal: controller.signal, name: 'interrupted' };
  const running = runStep('sh', ['-c', 'sleep 1000 & echo "pid=$!"; wait'], context);
  running.catch(() => undefined);
  const pid = await waitForPid(join(logDirectory, 'interrupted.log'));
  controller.abort(reason);
  await assert.rejects(running, reason);
  await waitUntilGone(pid);
});

test('a step ends with all that it started when kiln is killed', async () => {
  const module = JSON.stringify(new URL('../../src/host/run-step.ts', import.meta.url).href);
  const program = `const { runStep } = await import(${module});
    const signal = new AbortController().signal;
    const context = { logDirectory: ${JSON.stringify(logDirectory)}, progress() {}, signal, name: 'killed' };
    await runStep('sh', ['-c', 'sleep 1000 & echo "pid=$!"; wait'], context);`;
  const args = ['--input-type=module', '--eval', program];
  const kiln = spawn(...tied(process.execPath, args), { stdio: 'inherit' });
  const pid = await waitForPid(join(logDirectory, 'killed.log'));
  kiln.kill('SIGKILL');
  await waitUntilGone(pid);
});

async function waitForPid(logFile: string): Promise<number> {
  for (;;) {
    const pid = /pid=(\d+)\n/.exec(await readFile(logFile, 'utf8').catch(() => ''))?.[1];
    if (pid !== undefined) return Number(pid);
    await sleep(10);
  }
}

/** Gone, or ended and not yet fetched by whoever inherited it. */
async function waitUntilGone(pid: number): Promise<void> {
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (state === '' || / Z /.test(state)) return;
    await sleep(10);
  }
}
