import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createContext, curl, testData, waitFor, waitUntilReady } from './harness.ts';

const run = promisify(execFile);
const root = dirname(dirname(import.meta.dirname));

/** The service as its own process, as `npm start` runs it. */
async function startProcess(): Promise<{ child: ChildProcess; httpUrl: string }> {
  const child = spawn(process.execPath, [join(root, 'src/main.ts')], {
    env: {
      ...process.env,
      KILN_DATA_DIR: testData,
      KILN_LISTEN: '127.0.0.1:0',
      KILN_GRPC_LISTEN: '127.0.0.1:0',
      KILN_REGISTRY_MIRRORS: 'docker.io=http://127.0.0.1:9',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /ready {2}HTTP on (\S+),/.exec(line)?.[1];
    if (url === undefined) continue;
    child.stdout.resume();
    await waitUntilReady({ httpUrl: url });
    return { child, httpUrl: url };
  }
  throw new Error('The service ended before it was ready.');
}

async function countVms(): Promise<number> {
  const installation = await readFile(join(testData, 'installation'), 'utf8');
  const { stdout } = await run('pgrep', ['-f', '-c', `qemu-system.*kiln-${installation}`]).catch(() => ({
    stdout: '0',
  }));
  return Number(stdout);
}

test('after SIGKILL no VM lives on, and the next start knows every build; SIGTERM leaves nothing', async () => {
  const first = await startProcess();
  const decoy = spawn('sleep', ['600'], { argv0: 'qemu-system-x86_64 -name kiln-decoy' });
  try {
    await using context = await createContext({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    const form = ['-H', 'Prefer: respond-async', '-F', `context=@${context.archive}`];
    const { body } = await curl(...form, `${first.httpUrl}/build`);
    const { id } = JSON.parse(body) as { id: string };
    await waitFor(
      async () => (await curl(`${first.httpUrl}/v1/builds/${id}`)).body.includes('"leased":"'),
      'it runs',
    );
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    await waitFor(async () => (await countVms()) === 0, 'its VMs end with it', 3000);

    const second = await startProcess();
    assert.equal(decoy.exitCode, null, 'a decoy with a similar name was swept');
    const record = JSON.parse((await curl(`${second.httpUrl}/v1/builds/${id}`)).body) as { state: string };
    assert.equal(record.state, 'interrupted');
    const events = (await curl(`${second.httpUrl}/v1/builds/${id}/events`)).body.trim().split('\n');
    assert.match(events.at(-1) ?? '', /"type":"verdict".*"state":"interrupted"/);
    assert.equal((await curl(`${second.httpUrl}/v1/builds/${id}/log`)).exit, 0);

    second.child.kill('SIGTERM');
    const [status] = await once(second.child, 'exit');
    assert.equal(status, 0);
    assert.equal(await countVms(), 0);
    assert.deepEqual(await readdir(join(testData, 'vms')), []);
  } finally {
    first.child.kill('SIGKILL');
    decoy.kill('SIGKILL');
  }
});
