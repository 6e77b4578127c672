import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { holdLock } from '../../src/host/hold-lock.ts';
import { tied } from '../tied.ts';

const never = new AbortController().signal;
const silent = { onWait: () => undefined, signal: never };
let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-lock-'));
});
after(() => rm(directory, { recursive: true }));

test('a second holder waits, says so, and follows the first', async () => {
  const path = join(directory, 'second');
  const first = await holdLock(path, silent);
  const waits = Promise.withResolvers<void>();
  const second = holdLock(path, { onWait: waits.resolve, signal: never });
  await waits.promise;
  await first[Symbol.asyncDispose]();
  await using _held = await second;
});

test('whoever gives up waiting gets its own reason, and the lock is free afterwards', async () => {
  const path = join(directory, 'given-up');
  const first = await holdLock(path, silent);
  const controller = new AbortController();
  const reason = new Error('stop');
  const onWait = (): void => controller.abort(reason);
  await assert.rejects(holdLock(path, { onWait, signal: controller.signal }), reason);
  await first[Symbol.asyncDispose]();
  await using _held = await holdLock(path, silent);
});

test('a process that is killed holds no lock any more', async () => {
  const path = join(directory, 'killed');
  const module = JSON.stringify(new URL('../../src/host/hold-lock.ts', import.meta.url).href);
  const program = `const { holdLock } = await import(${module});
    await holdLock(${JSON.stringify(path)}, { onWait() {}, signal: new AbortController().signal });
    console.log('held');
    setInterval(() => {}, 1000);`;
  const holder = spawn(...tied(process.execPath, ['--input-type=module', '--eval', program]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  holder.kill('SIGKILL');
  await using _held = await holdLock(path, silent);
});

test('a lock that cannot be made says why', async () => {
  await assert.rejects(
    holdLock(join(directory, 'missing', 'lock'), silent),
    /flock .*missing\/lock: exited with 66: /,
  );
});
