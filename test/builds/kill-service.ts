import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { isTerminal } from '../../src/model/build.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { createFolder } from '../store/harness.ts';
import { tied } from '../tied.ts';
import { briefly } from './briefly.ts';
import { startDurable } from './durable-service.ts';

const program = join(import.meta.dirname, 'killed-service.ts');
const buildsOfRun = 6;
const maxDelayMs = 60;

/**
 * Kills a service `kills` times, each time at another moment of its work, and starts it once more: then every build that was acknowledged has
 * ended, once, and nothing else is left of any. Its VMs are simulated.
 */
export async function killService(kills: number): Promise<{ acknowledged: number }> {
  await using folder = await createFolder();
  const acknowledged: string[] = [];
  for (let kill = 0; kill < kills; kill += 1) acknowledged.push(...(await runAndKill(folder.path)));

  const service = await startDurable(folder.path, { script: briefly });
  const { builds, store, buildsDirectory, stagingDirectory } = service;
  const left = await store.listUnfinished();
  const all = { offset: 0, follow: true, signal: new AbortController().signal };
  for (const { id } of left) for await (const _event of await builds.events(localAdmin, id, all));
  await service.stop();

  const ids = (await readdir(buildsDirectory)).sort();
  assert.deepEqual(
    acknowledged.filter((id) => !ids.includes(id)),
    [],
    'lost',
  );
  const reopened = await startDurable(folder.path, { script: briefly });
  for (const id of ids) {
    const { state, attempts } = await reopened.store.get(id);
    assert.ok(isTerminal(state), `${id} is ${state}`);
    assert.ok(attempts.length <= 2, `${id} ran ${attempts.length} times`);
    const events = await readFile(join(buildsDirectory, id, 'events.ndjson'), 'utf8');
    assert.equal(events.split('"type":"verdict"').length, 2, `${id} ended more than once`);
    assert.ok(!(await readdir(join(buildsDirectory, id))).includes('input'), `the input of ${id} is left`);
  }
  await reopened.stop();
  // The service empties it at a start, which is not part of this one.
  const staged = await readdir(stagingDirectory);
  assert.ok(staged.length <= kills, `${staged.length} staged images`);
  return { acknowledged: acknowledged.length };
}

/** Kills it soon after it has acknowledged some builds. @returns all that it acknowledged */
async function runAndKill(path: string): Promise<string[]> {
  const child = spawn(...tied(process.execPath, [program, path], { signal: 'KILL' }), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => undefined);
  const said: string[] = [];
  const enough = Math.floor(Math.random() * (buildsOfRun + 1));
  const lines = createInterface({ input: child.stdout });
  const exit = once(child, 'exit');
  const read = (async () => {
    for await (const line of lines) {
      if (line === 'ready') child.stdin.write('\n'.repeat(buildsOfRun));
      else said.push(line);
      if (said.length === enough) void sleep(Math.random() * maxDelayMs).then(() => child.kill('SIGKILL'));
    }
  })();
  const [code] = (await exit) as [number | null];
  await read;
  assert.equal(code, null, 'it ended by itself');
  return said;
}
