import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { hashFile } from '../../src/lib/hash.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { capture } from '../../src/ssh/capture.ts';
import { startDockerEngine } from '../docker-engine.ts';
import { tied } from '../tied.ts';
import { buildAndLoad } from './build-and-load.ts';
import { build, startRegistry, startTestService, waitFor, waitUntilReady } from './harness.ts';
import { lookIntoVm } from './look-into-vm.ts';

/** What other files test with VMs that are processes holds for VMs that are containers; and what only those have to fear. */
const run = promisify(execFile);
const { signal } = new AbortController();
/** Its templates are kept from run to run. */
const data = '/var/cache/kiln/test-data-docker';
const resources = new AsyncDisposableStack();
after(async () => {
  await resources.disposeAsync();
  assert.deepEqual(await readdir(join(data, 'vms')), [], 'folders of VMs are left');
});
const engine = resources.use(await startDockerEngine());
const registry = resources.use(await startRegistry());
const decoy = 'kiln-decoy';
const started = performance.now();
const env = { KILN_DATA_DIR: data, KILN_DRIVER: 'docker', DOCKER_HOST: engine.host, KILN_ACCEL: 'auto' };
const service = resources.use(await startTestService({ mirror: registry.url, env }));
await waitUntilReady(service);
const [image = ''] = (await engine.docker('images', '-q', 'kiln/dqd')).split('\n');
await engine.docker('run', '-d', '--network=none', `--name=${decoy}`, '--entrypoint=sleep', image, '100000');
console.log(`ready after ${Math.round(performance.now() - started)} ms`);
resources.defer(() => assertNothingLeft());

async function assertNothingLeft(): Promise<void> {
  await service[Symbol.asyncDispose]();
  const left = await engine.docker('ps', '-a', '--format={{.Names}}');
  assert.equal(left, decoy, 'containers are left, or the decoy went');
}

/** Names of the service's containers. */
async function containers(...flags: readonly string[]): Promise<string[]> {
  const text = await engine.docker('ps', ...flags, '--filter=label=kiln.installation', '--format={{.Names}}');
  return text.split('\n').filter((name) => name !== '');
}

async function untilWarm(): Promise<void> {
  const settled = async (): Promise<boolean> => {
    const { warm, frozen, starting, ending } = service.pool.status;
    return warm === 2 && frozen === 2 && starting + ending === 0;
  };
  await waitFor(settled, 'the pool is full');
}

test('a build runs in a container that has no network, no capability, no root and no port, within its limits', async () => {
  await untilWarm();
  const [name = ''] = await containers();
  const [found] = JSON.parse(await engine.docker('inspect', name));
  const { HostConfig: host, Config: config } = found;
  assert.deepEqual(
    [host.NetworkMode, host.ReadonlyRootfs, host.CapDrop, host.Privileged],
    ['none', true, ['ALL'], false],
  );
  assert.deepEqual(
    [host.SecurityOpt, host.PortBindings ?? {}, host.LogConfig.Config['max-size']],
    [['no-new-privileges'], {}, '64k'],
  );
  assert.match(config.User, /^58\d{3}:58\d{3}$/);
  assert.equal(host.NanoCpus, 2e9);
  assert.equal(host.Memory, (2048 + 1536) * 1024 * 1024);
  assert.equal(host.PidsLimit, 256);
  assert.ok(
    found.Mounts.every(
      (mount: { Destination: string; RW: boolean }) =>
        !mount.RW || mount.Destination.startsWith(join(data, 'vms')),
    ),
  );
  const { exit, body, id } = await build(service, { Dockerfile: 'FROM busybox\nRUN echo in a container\n' });
  assert.equal(exit, 0, body);
  assert.match(body, /[\d.]+ in a container\n/);
  const record = await service.builds.get(localAdmin, id);
  assert.equal(record.vm?.accelerator, 'tcg');
});

test('context and artifact go through disks as they do with processes: the engine itself loads what was built', async () => {
  await buildAndLoad(service, engine);
});

test("VMs are pristine and their own; the template's memory is the same after one took and gave back 300 MB", async () => {
  const templates = join(data, 'templates', service.entry);
  const [key = ''] = await readdir(templates);
  const ram = join(templates, key, 'ram');
  const before = await hashFile(ram, signal);
  await using first = await service.pool.acquire(signal);
  await using second = await service.pool.acquire(signal);
  const seen = [...(await lookIntoVm(first.vm.connection)), ...(await lookIntoVm(second.vm.connection))];
  assert.equal(new Set(seen).size, 6);
  const use = 'dd if=/dev/urandom of=/dev/shm/x bs=1M count=300 2>&1 && rm /dev/shm/x && sync';
  await capture(first.vm.connection, `${use} && echo 3 >/proc/sys/vm/drop_caches`, { signal });
  assert.equal(await hashFile(ram, signal), before);
});

test('a container that is removed behind our back: a warm one is replaced, the build in a leased one fails, and the next succeeds', async () => {
  await untilWarm();
  const victims = await containers();
  const begun = performance.now();
  await engine.docker('rm', '-f', ...victims);
  await waitFor(async () => service.pool.status.warm === 0, 'they are missed');
  console.log(`missed after ${Math.round(performance.now() - begun)} ms`);
  await untilWarm();
  const endless = { Dockerfile: 'FROM busybox\nRUN echo started && sleep 300\n' };
  const building = build(service, endless, 'retry=never');
  await waitFor(isRunning, 'the build runs');
  await engine.docker('rm', '-f', ...(await containers()));
  const { exit, body } = await building;
  assert.equal(exit, 18, body);
  assert.match(body, /The VM of this build went away/);
  const next = await build(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  assert.equal(next.exit, 0, next.body);
});

/** QEMUs whose name says this. */
async function countProcesses(name: string): Promise<number> {
  const { stdout } = await run('pgrep', ['-f', '-c', `^qemu-system.*kiln-[0-9a-f]+-${name}`]).catch(() => ({
    stdout: '0',
  }));
  return Number(stdout);
}

/** Once its log has begun no other VM may take over. */
async function isRunning(): Promise<boolean> {
  const { builds } = await service.builds.list(localAdmin, { limit: 1 });
  const [newest] = builds;
  if (newest?.state !== 'running') return false;
  return (await (await fetch(`${service.httpUrl}/v1/builds/${newest.id}/log`)).text()).includes(' started');
}

test('while the engine hangs a build goes on to its end; what waits is served once it answers again', async () => {
  await untilWarm();
  const building = build(service, { Dockerfile: 'FROM busybox\nRUN echo started && sleep 3\n' });
  await waitFor(isRunning, 'the build runs');
  {
    using _hanging = await engine.hang();
    const { exit, body, id } = await building;
    assert.equal(exit, 0, body);
    const { vm } = await service.builds.get(localAdmin, id);
    await waitFor(async () => (await countProcesses(vm?.id ?? '-')) === 0, 'its QEMU is gone');
  }
  const begun = performance.now();
  await untilWarm();
  console.log(`the pool is full ${Math.round(performance.now() - begun)} ms after the engine went on`);
});

test('an engine that is restarted takes its containers with it; a build that came meanwhile waits, and is served', async () => {
  await untilWarm();
  const restarting = engine.restart({ downMs: 2000 });
  await waitFor(async () => service.pool.status.warm === 0, 'its VMs are gone');
  const building = build(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  await restarting;
  const begun = performance.now();
  const { exit, body } = await building;
  assert.equal(exit, 0, body);
  console.log(`served ${Math.round(performance.now() - begun)} ms after the engine was back`);
  await engine.docker('start', decoy);
});

test('a kiln that is killed leaves no VM running, and the next start removes their containers', async () => {
  await assertNothingLeft();
  const main = join(dirname(dirname(import.meta.dirname)), 'src/main.ts');
  const ports = {
    KILN_LISTEN: '127.0.0.1:0',
    KILN_GRPC_LISTEN: '127.0.0.1:0',
    KILN_REGISTRY_MIRRORS: 'docker.io=http://127.0.0.1:9',
  };
  const child = spawn(...tied(process.execPath, [main]), {
    env: { ...process.env, ...env, ...ports },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('ready  HTTP')) break;
  await waitFor(async () => (await countProcesses('')) >= 2, 'it has VMs');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
  await waitFor(async () => (await countProcesses('')) === 0, 'they end with it');
  assert.ok((await containers('-a')).length >= 2, 'nobody was there to remove their containers');
  await using again = await startTestService({ mirror: registry.url, env });
  await waitUntilReady(again);
});
