import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** What is left of a test whose process is ended amid its work, as a time limit and Ctrl-C end it. */
const endings = ['SIGKILL', 'SIGTERM', 'SIGINT'] as const;
const otherUser = ['--reuid=61234', '--regid=61234', '--clear-groups'];

/** Runs a module in place of a test, and ends it once it has printed a line. @returns that line */
async function interrupt(source: string, signal: (typeof endings)[number]): Promise<string> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  child.kill(signal);
  await once(child, 'exit');
  return line;
}

const module = (name: string): string => JSON.stringify(join(import.meta.dirname, '..', name));

for (const [who, privileges] of [
  ['this user', []],
  ['another user', otherUser],
] as const) {
  for (const signal of endings) {
    test(`a program that a test started as ${who} ends with it: ${signal}`, async () => {
      const pid = await interrupt(
        `import { spawn } from 'node:child_process';
        import { tied } from ${module('tied.ts')};
        const script = 'trap "" TERM INT; echo $$; while :; do sleep 1; done';
        spawn(...tied('sh', ['-c', script], { privileges: ${JSON.stringify(privileges)} }), { stdio: 'inherit' });
        setInterval(() => {}, 1000);`,
        signal,
      );
      await waitUntilGone(Number(pid));
    });
  }
}

for (const signal of endings) {
  test(`a small disk goes with the test that made it: ${signal}`, async () => {
    const path = await interrupt(
      `import { createSmallDisk } from ${module('small-disk.ts')};
      const { path } = await createSmallDisk(1);
      console.log(path);
      setInterval(() => {}, 1000);`,
      signal,
    );
    assert.match(path, /kiln-small-disk-/);
    while ((await readFile('/proc/self/mounts', 'utf8')).includes(path) || existsSync(path)) await sleep(10);
  });
}

/** Gone, or ended and not yet fetched by whoever inherited it. */
async function waitUntilGone(pid: number): Promise<void> {
  for (;;) {
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (state === '' || / Z /.test(state)) return;
    await sleep(10);
  }
}
