import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { tied } from '../tied.ts';
import { createContext, curl, startRegistry, testData, waitFor, waitUntilReady } from './harness.ts';

const run = promisify(execFile);
const root = dirname(dirname(import.meta.dirname));

/** The service as its own process, as `npm start` runs it. */
async function startProcess(
  env: Record<string, string> = {},
): Promise<{ child: ChildProcess; httpUrl: string }> {
  const child = spawn(...tied(process.execPath, [join(root, 'src/main.ts')]), {
    env: {
      ...process.env,
      KILN_DATA_DIR: testData,
      KILN_LISTEN: '127.0.0.1:0',
      KILN_GRPC_LISTEN: '127.0.0.1:0',
      KILN_REGISTRY_MIRRORS: 'docker.io=http://127.0.0.1:9',
      ...env,
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
  const [installation] = (await readFile(join(testData, 'installation-id'), 'utf8')).split('\n');
  const { stdout } = await run('pgrep', ['-f', '-c', `qemu-system.*kiln-${installation}`]).catch(() => ({
    stdout: '0',
  }));
  return Number(stdout);
}

test('after SIGKILL no VM lives on, and the next start runs once more what ran; SIGTERM leaves nothing', async () => {
  const first = await startProcess();
  // It ends with its standard input, which ends with this process.
  const decoy = spawn('cat', { argv0: 'qemu-system-x86_64 -name kiln-decoy' });
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
    await waitFor(async () => (await countVms()) === 0, 'its VMs end with it');

    const second = await startProcess();
    assert.equal(decoy.exitCode, null, 'a decoy with a similar name was swept');
    const events = (await curl(`${second.httpUrl}/v1/builds/${id}/events?follow=true`)).body.trim();
    assert.match(events, /"type":"attempt","attempt":2,"code":"INFRA"/);
    assert.match(events.split('\n').at(-1) ?? '', /"type":"verdict".*"state":"succeeded"/);
    assert.equal(events.split('"type":"verdict"').length, 2, 'it ends once');
    const logs = ['', '?attempt=1'].map((query) => curl(`${second.httpUrl}/v1/builds/${id}/log${query}`));
    const [last, lost] = (await Promise.all(logs)).map(({ body: log }) => log);
    assert.match(last ?? '', /DONE/);
    assert.notEqual(lost, last);

    // `npm start | tee log`: Ctrl-C ends tee, too.
    second.child.stdout?.destroy();
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

type Streamed = { text: string; readonly ended: Promise<number> };

/** A build sent by curl whose answer grows in `text`; resolves `ended` with curl's exit status. */
function send(httpUrl: string, archive: string, ...fields: readonly string[]): Streamed {
  const form = [`context=@${archive}`, ...fields].flatMap((field) => ['-F', field]);
  const child = spawn('curl', ['-sN', ...form, `${httpUrl}/build`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const streamed: Streamed = { text: '', ended: once(child, 'close').then(([status]) => status as number) };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    streamed.text += text;
  });
  return streamed;
}

test('SIGTERM lets the running build finish and keeps the others for the next start; its log and artifact are there at the next start; a second signal ends builds', async () => {
  await using registry = await startRegistry();
  const env = {
    KILN_MAX_VMS: '1',
    KILN_POOL_SIZE: '1',
    KILN_REGISTRY_MIRRORS: `docker.io=${registry.url}`,
  };
  await using slow = await createContext({ Dockerfile: 'FROM busybox\nRUN echo started && sleep 12\n' });
  await using endless = await createContext({ Dockerfile: 'FROM busybox\nRUN echo started && sleep 600\n' });

  const first = await startProcess(env);
  const running = send(first.httpUrl, slow.archive, 'output=oci');
  await waitFor(async () => running.text.includes(' started'), 'the first build runs');
  const [{ id }] = (
    (await (await fetch(`${first.httpUrl}/v1/builds`)).json()) as { builds: [{ id: string }] }
  ).builds;
  const reader = curl(`${first.httpUrl}/v1/builds/${id}/log?follow=true`);
  const waiting = send(first.httpUrl, endless.archive);
  await waitFor(async () => waiting.text.includes('place 1 in the queue'), 'the second build waits');
  first.child.kill('SIGTERM');
  await waitFor(async () => (await fetch(`${first.httpUrl}/readyz`)).status === 503, 'not ready');
  const refused = await curl('-F', `context=@${endless.archive}`, `${first.httpUrl}/build`);
  assert.match(refused.body, /"code":"DRAINING"/);
  assert.equal(await waiting.ended, 18);
  assert.match(
    waiting.text,
    /kiln: build \S+: The service is stopping; it stays in the line and runs after the next start: GET \/v1/,
  );
  assert.equal(await running.ended, 0, running.text);
  const { body: log } = await reader;
  assert.match(log, /^#1 \[internal\](?:.*\n)*#\d+ DONE [\d.]+s\n$/);
  assert.ok(running.text.includes(log), 'a second reader, who came late, reads the same bytes');
  assert.deepEqual(await once(first.child, 'exit'), [0, null]);
  assert.equal(await countVms(), 0);

  const { port } = new URL(registry.url);
  const opened = `host.kiln.internal:${port}`;
  const second = await startProcess({ ...env, KILN_EGRESS_ALLOW: opened });
  const kept = /The service is stopping.*GET (\S+)/.exec(waiting.text)?.[1] ?? '';
  const after = async (): Promise<string> => (await curl(`${second.httpUrl}${kept}/log`)).body;
  await waitFor(async () => (await after()).includes(' started'), 'what waited runs');
  await curl('-X', 'DELETE', `${second.httpUrl}${kept}`);
  assert.equal((await curl(`${second.httpUrl}/v1/builds/${id}/log`)).body, log);
  const record = (await (await fetch(`${second.httpUrl}/v1/builds/${id}`)).json()) as {
    artifact: { size: number };
  };
  const artifact = await (await fetch(`${second.httpUrl}/v1/builds/${id}/artifact`)).arrayBuffer();
  assert.equal(artifact.byteLength, record.artifact.size);

  const look = `wget -qO- http://${opened}/v2/ && echo reached`;
  await using allowed = await createContext({ Dockerfile: `FROM busybox\nRUN ${look}\n` });
  const { body: probed } = await curl('-F', `context=@${allowed.archive}`, `${second.httpUrl}/build`);
  assert.match(probed, / reached\n/, 'what KILN_EGRESS_ALLOW names is open');

  const ended = send(second.httpUrl, endless.archive, 'retry=never');
  await waitFor(async () => ended.text.includes(' started'), 'a build runs');
  second.child.kill('SIGINT');
  await waitFor(async () => (await fetch(`${second.httpUrl}/readyz`)).status === 503, 'not ready');
  second.child.kill('SIGINT');
  assert.deepEqual(await once(second.child, 'exit'), [0, null]);
  assert.equal(await ended.ended, 18);
  assert.match(ended.text, /The service was stopped/);
  assert.equal(await countVms(), 0);
  assert.deepEqual(await readdir(join(testData, 'vms')), []);
});

test('npm run demo builds examples/hello with the line that it prints, and stops', async () => {
  // It has a kiln to end.
  const child = spawn(...tied(process.execPath, [join(root, 'scripts/demo.ts')], { signal: 'TERM' }), {
    env: { ...process.env, KILN_DATA_DIR: testData, KILN_REGISTRY_MIRRORS: 'docker.io=http://127.0.0.1:9' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  assert.deepEqual(await once(child, 'close'), [0, null], text);
  assert.match(
    text,
    /\[1\/1\] COPY hello\.txt \/\n(?:.*\n)*kiln: build \S+ succeeded(?:.*\n)*kiln: stopped\n$/,
  );
});
