import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../../src/lib/process/find-program.ts';
import { runTool } from '../../../src/lib/process/run-tool.ts';
import { startPiped, tieToKiln, waitForEnd } from '../../../src/lib/process/start-process.ts';

const { signal } = new AbortController();
const sh = (script: string) => ({ command: 'sh', args: ['-c', script] });

const ends = [
  { program: sh('exit 0'), how: 'exited with 0', succeeded: true },
  { program: sh('echo a >&2; echo b >&2; exit 3'), how: 'exited with 3: a\nb', succeeded: false },
  { program: sh('kill -TERM $$'), how: 'was ended by SIGTERM', succeeded: false },
  {
    program: { command: '/nowhere/program', args: [] },
    how: 'could not be started: spawn /nowhere/program ENOENT',
    succeeded: false,
  },
  {
    program: { command: '/etc/passwd', args: [] },
    how: 'could not be started: spawn /etc/passwd EACCES',
    succeeded: false,
  },
  { program: sh(':'.repeat(3_000_000)), how: 'could not be started: spawn E2BIG', succeeded: false },
] as const;
for (const { program, how, succeeded } of ends) {
  test(`a process tells how it ended: ${how.replace('\n', ' ')}`, async () => {
    const running = startPiped(program);
    running.stdin.end('what nobody reads');
    running.stdout.resume();
    assert.deepEqual(await running.ended, { succeeded, how });
    assert.deepEqual(await running.kill(), { succeeded, how }, 'ending what ended changes nothing');
  });
}

test('of endless error output only the end is kept', async () => {
  const running = startPiped(sh('yes | head -c 5000000 >&2; echo last words >&2; exit 1'));
  running.stdout.resume();
  const { how } = await running.ended;
  assert.match(how, /last words$/);
  assert.ok(how.length < 2100);
});

test('a process has its own pipes, and a file as fd 3', async () => {
  await using file = await open(import.meta.filename);
  const running = startPiped(sh('cat; head -c 6 <&3'), { descriptor: file.fd });
  running.stdin.end('input ');
  assert.equal(await text(running.stdout), 'input import');
});

test('a process with a bare environment knows nothing of kiln', async () => {
  const running = startPiped(
    { command: '/usr/bin/env', args: [] },
    { bareEnvironment: true, env: { A: '1' } },
  );
  assert.equal(await text(running.stdout), 'A=1\n');
});

test('no process is handed the token that kiln was started beside', async () => {
  process.env['KILN_TOKEN'] = 'kiln_secret';
  process.env['KILN_OTHER'] = 'other';
  try {
    const running = startPiped({ command: '/usr/bin/env', args: [] });
    const seen = await text(running.stdout);
    assert.match(seen, /^KILN_OTHER=other$/m);
    assert.doesNotMatch(seen, /KILN_TOKEN|undefined/);
  } finally {
    delete process.env['KILN_TOKEN'];
    delete process.env['KILN_OTHER'];
  }
});

test('a process takes with it what it started, also when it ends by itself', async () => {
  for (const last of ['wait', 'exit 0']) {
    const running = startPiped(sh(`sleep 1000 & echo $!; ${last}`));
    const [pid] = (await once(running.stdout, 'data')) as [Buffer];
    if (last === 'wait') await running.kill();
    else await running.ended;
    await waitUntilGone(Number(pid.toString()));
  }
});

test('an abort ends a process, and gives the reason of the signal once it is gone', async () => {
  const controller = new AbortController();
  const reason = new Error('stop');
  const running = startPiped(sh('echo $$; exec sleep 1000'));
  const [pid] = (await once(running.stdout, 'data')) as [Buffer];
  const waiting = waitForEnd(running, controller.signal);
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(readFile(`/proc/${pid.toString().trim()}/cmdline`), { code: 'ENOENT' });
});

test('a process that is tied to kiln is the program itself, under its own process id', async () => {
  const setpriv = (await findProgram('setpriv', process.env['PATH'] ?? '')) ?? '';
  const running = startPiped(tieToKiln(sh('echo $$'), { setpriv, privileges: ['--no-new-privs'] }));
  assert.equal(await text(running.stdout), `${running.pid}\n`);
});

test('a tool gives its output; its failure has its name, how it ended, and its last words', async () => {
  assert.equal(await runTool('printf', ['%s', 'grüße'], signal), 'grüße');
  await assert.rejects(runTool('sh', ['-c', 'echo no such disk >&2; exit 2'], signal), {
    message: 'sh exited with 2: no such disk',
  });
  await assert.rejects(runTool('/nowhere/tool', [], signal), /\/nowhere\/tool could not be started/);
  const reason = new Error('stop');
  await assert.rejects(runTool('sleep', ['1000'], AbortSignal.abort(reason)), reason);
});

test('a tool that prints without end is ended', async () => {
  await assert.rejects(runTool('yes', [], signal), /yes printed more than \d+ bytes/);
});

test('a program is found where the path names it first, and a folder of its name is none', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-find-'));
  try {
    const [first, second] = [join(directory, 'first'), join(directory, 'second')];
    await mkdir(join(first, 'tool'), { recursive: true });
    await mkdir(second);
    await writeFile(join(second, 'tool'), '', { mode: 0o755 });
    assert.equal(await findProgram('tool', `relative::${first}:${second}`), join(second, 'tool'));
    assert.equal(await findProgram('tool', first), null);
  } finally {
    await rm(directory, { recursive: true });
  }
});

/** Gone, or ended and not yet fetched by whoever inherited it. */
async function waitUntilGone(pid: number): Promise<void> {
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (state === '' || / Z /.test(state)) return;
    await sleep(10);
  }
}
