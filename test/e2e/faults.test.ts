import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { openAsBlob } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { localAdmin } from '../../src/model/caller.ts';
import { listen } from '../listen.ts';
import { testFailures } from './failure-cases.ts';
import { build, createContext, startForFile, testData, waitFor } from './harness.ts';

const run = promisify(execFile);
/** A registry that wants an account. */
const locked = await listen(
  createServer((_request, response) => {
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="locked"' }).end();
  }),
);
after(() => locked[Symbol.asyncDispose]());
const { service } = await startForFile({}, { locked: `http://127.0.0.1:${locked.port}` });

test('a client that goes away cancels its build, and the VM is gone', async () => {
  await using context = await createContext({ Dockerfile: 'FROM busybox\nRUN echo started && sleep 300\n' });
  const controller = new AbortController();
  const form = new FormData();
  form.set('context', await openAsBlob(context.archive), 'ctx.tgz');
  const response = await fetch(`${service.httpUrl}/build`, {
    method: 'POST',
    body: form,
    signal: controller.signal,
  });
  const id = response.headers.get('x-build-id') ?? '';
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes(' started')) break;
  }
  controller.abort();
  const { vm } = await service.builds.get(localAdmin, id);
  await waitFor(
    async () => (await service.builds.get(localAdmin, id)).state === 'cancelled',
    'the build is cancelled',
  );
  assert.ok(!(await readdir(join(testData, 'vms'))).includes(vm?.id ?? ''));
});

test('a timeout ends a build with its own code', async () => {
  const { exit, body, id } = await build(
    service,
    { Dockerfile: 'FROM busybox\nRUN sleep 300\n' },
    'timeout=5',
  );
  assert.equal(exit, 18);
  assert.match(body, /took longer than the 5 s/);
  assert.equal((await service.builds.get(localAdmin, id)).verdict?.code, 'TIMEOUT');
});

test('a leased VM whose QEMU is killed fails its build, which may run only once, and is replaced', async () => {
  const endless = { Dockerfile: 'FROM busybox\nRUN echo started && sleep 300\n' };
  const building = build(service, endless, 'retry=never');
  const started = async (): Promise<string | undefined> => {
    const { builds } = await service.builds.list(localAdmin, { limit: 1 });
    const [newest] = builds;
    if (newest?.state !== 'running') return undefined;
    const log = await (await fetch(`${service.httpUrl}/v1/builds/${newest.id}/log`)).text();
    return log.includes(' started') ? newest.vm?.id : undefined;
  };
  await waitFor(async () => (await started()) !== undefined, 'the build runs');
  await run('pkill', ['-KILL', '-f', `kiln-[0-9a-f]+-${await started()}`]);
  const { exit, body } = await building;
  assert.equal(exit, 18);
  assert.match(body, /The VM of this build went away/);
  const next = await build(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  assert.equal(next.exit, 0, next.body);
});

/** The ids of the warm VMs, the next to be leased first: ids sort by time. */
async function warmVms(): Promise<string[]> {
  await waitFor(
    async () => service.pool.status.warm === 2 && service.pool.status.starting === 0,
    'two VMs are warm',
  );
  // Behind them are the frozen ones.
  return (await readdir(join(testData, 'vms'))).sort().slice(0, 2);
}

test('a warm VM that dies is noticed and replaced', async () => {
  const [victim = '', other] = await warmVms();
  await run('pkill', ['-KILL', '-f', `kiln-[0-9a-f]+-${victim}`]);
  const gone = async (): Promise<boolean> => !(await readdir(join(testData, 'vms'))).includes(victim);
  await waitFor(gone, 'the folder of the dead VM is gone');
  const warm = await warmVms();
  assert.equal(warm.length, 2);
  assert.ok(other !== undefined && warm.includes(other) && !warm.includes(victim));
});

test('a VM that freezes before its build has said a word is replaced, and the build succeeds at the second attempt', async () => {
  const [next] = await warmVms();
  await run('pkill', ['-STOP', '-f', `kiln-[0-9a-f]+-${next}`]);
  const { exit, body, id } = await build(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  assert.equal(exit, 0, body);
  assert.match(body, /kiln: attempt 2: The VM of this build went away.* Trying once more in another one\.\n/);
  const logOf = async (attempt: number): Promise<string> =>
    (await fetch(`${service.httpUrl}/v1/builds/${id}/log?attempt=${attempt}`)).text();
  assert.equal(await logOf(1), '');
  assert.match(await logOf(2), /^#1 \[internal\] load build definition/m);
  assert.notEqual((await service.builds.get(localAdmin, id)).vm?.id, next);
});

test('a context whose build is refused is not left behind', async () => {
  const { exit, body } = await build(service, { a: 'no Dockerfile' });
  assert.equal(exit, 0);
  assert.match(body, /DOCKERFILE_MISSING/);
  assert.deepEqual(await readdir(join(testData, 'staging')), []);
});

testFailures(service, [
  ['a step fails', 'FROM busybox\nRUN exit 3\n', 'USER_ERROR', /^buildctl exited with 1\.$/],
  [
    'a step prints what others fail by',
    'FROM busybox\nRUN echo "no space left on device, 401 Unauthorized, out of memory" && exit 1\n',
    ...(['USER_ERROR', /^buildctl exited with 1\.$/] as const),
  ],
  [
    'a step takes the last block of the disk',
    'FROM busybox\nRUN fallocate -l 100G /a; dd if=/dev/zero of=/b bs=1k; fallocate -l 1G /c\n',
    ...(['DISK_FULL', /RUN fallocate .*KILN_VM_DISK_BYTES/] as const),
  ],
  [
    'a step is refused a connection',
    'FROM busybox\nRUN echo hello | nc 10.1.2.3 81\n',
    ...(['NETWORK_REFUSED', /RUN echo hello .* refused a connection to 10\.1\.2\.3:81, not-public/] as const),
  ],
  [
    'a registry is down',
    'FROM down.test/app\n',
    ...(['REGISTRY_UNAVAILABLE', /load metadata for down\.test\/app/] as const),
  ],
  [
    'a registry wants an account',
    'FROM locked.test/app\n',
    ...(['REGISTRY_AUTH', /load metadata for locked\.test\/app/] as const),
  ],
]);
