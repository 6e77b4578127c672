import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { runTool } from '../../src/lib/process/run-tool.ts';
import type { ContainerRequest } from '../../src/vm/docker/container-options.ts';
import { Containers } from '../../src/vm/docker/containers.ts';
import { connectDocker, type DockerEngine } from '../../src/vm/docker/engine.ts';
import { startDockerEngine, type TestEngine } from '../docker-engine.ts';
import { installTools } from '../install-tools.ts';

const run = promisify(execFile);
const { signal } = new AbortController();
const logger = { info: () => undefined, warn: () => undefined, error: console.error };
let dockerd: TestEngine;
let engine: DockerEngine;

/** One image for all tests: a static busybox. */
before(async () => {
  await installTools([{ find: 'busybox', package: 'busybox-static' }]);
  dockerd = await startDockerEngine();
  engine = await connectDocker({ host: dockerd.host, certificates: null });
  const root = join(dockerd.directory, 'root');
  await mkdir(join(root, 'bin'), { recursive: true });
  await copyFile((await runTool('which', ['busybox'], signal)).trim(), join(root, 'bin/busybox'));
  await run('sh', ['-c', `tar -c -C ${root} . | docker --host ${dockerd.host} import - box:1`]);
});
after(() => dockerd[Symbol.asyncDispose]());

async function openContainers(installation: string): Promise<Containers & { left: number }> {
  const containers = new Containers(engine, { installation, logger });
  return Object.assign(containers, { left: await containers.open(signal) });
}

function request(name: string, ...command: readonly string[]): Omit<ContainerRequest, 'installation'> {
  return {
    ...{ name, image: 'box:1', command: ['/bin/busybox', ...command], user: { uid: 58_001, gid: 58_001 } },
    ...{ limits: { cpus: 1, memoryMiB: 32 }, accelerator: 'tcg', directory: null, reads: [], scratch: false },
  };
}

async function start(containers: Containers, name: string, ...command: readonly string[]) {
  const own = await containers.create(request(name, ...command), signal);
  await own.container.start();
  return own;
}

test('a container of ours has no network, no capability, no file to write and no more memory than it was given', async () => {
  await using containers = await openContainers('bare');
  const look =
    'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp|Uid):" /proc/self/status >&2; ls /sys/class/net >&2; touch /x; touch /run/vm/x';
  const own = await start(
    containers,
    'kiln-bare-1',
    'sh',
    '-c',
    `export PATH=/bin; ${look.replaceAll(/\b(grep|ls|touch) /g, '/bin/busybox $1 ')}; exit 3`,
  );
  await own.ended;
  const how = await own.describeEnd();
  assert.match(how, /^exited with 3: /);
  assert.match(how, /Uid:\\t58001/);
  assert.match(how, /CapEff:\\t0{16}.*CapBnd:\\t0{16}.*NoNewPrivs:\\t1.*Seccomp:\\t2/);
  assert.match(how, /\\nlo\\n/);
  assert.doesNotMatch(how, /eth0/);
  assert.equal(how.match(/Read-only file system|Permission denied/g)?.length, 2, how);
  await own.remove();
  const greedy = await start(containers, 'kiln-bare-2', 'sh', '-c', 'a=x; while :; do a=$a$a; done');
  await greedy.ended;
  assert.equal(await greedy.describeEnd(), 'was ended by the kernel: it needed more than its 32 MiB');
  await greedy.remove();
});

test('an earlier run is swept by its label; decoys with similar names and labels stay', async () => {
  const containers = await openContainers('mine');
  await start(containers, 'kiln-mine-1', 'sleep', '1000');
  await containers[Symbol.asyncDispose]();
  const decoys = {
    'kiln-mine-2': [],
    'kiln-mine-3': ['--label=kiln.installation=mine2'],
    'kiln-mine': ['--label=kiln=mine'],
    other: ['--label=kiln.installation=other'],
  };
  for (const [name, labels] of Object.entries(decoys))
    await dockerd.docker(
      'run',
      '-d',
      '--network=none',
      '--name',
      name,
      ...labels,
      'box:1',
      '/bin/busybox',
      'sleep',
      '1000',
    );
  await using again = await openContainers('mine');
  assert.equal(again.left, 1);
  await sleep(500);
  const names = (await dockerd.docker('ps', '--format={{.Names}}')).split('\n');
  assert.deepEqual(names.sort(), Object.keys(decoys).sort());
  await dockerd.docker('rm', '-f', ...names);
});

test('a container that is removed or killed behind our back is heard of at once', async () => {
  await using containers = await openContainers('gone');
  const [removed, killed] = [
    await start(containers, 'kiln-gone-1', 'sleep', '1000'),
    await start(containers, 'kiln-gone-2', 'sleep', '1000'),
  ];
  await dockerd.docker('kill', 'kiln-gone-2');
  await killed.ended;
  assert.equal(await killed.describeEnd(), 'was ended by signal 9');
  await dockerd.docker('rm', '-f', 'kiln-gone-1');
  await removed.ended;
  assert.equal(await removed.describeEnd(), 'was removed from the Docker engine');
  for (const own of [removed, killed]) await own.remove();
  assert.equal(await dockerd.docker('ps', '-aq'), '');
});

test('an engine that hangs is waited for as long as each call may take, and no longer', async () => {
  {
    using _hanging = await dockerd.hang();
    await assert.rejects(
      engine.ask('say hello', signal, (docker) => docker.ping(), 300),
      { code: 'INFRA', message: 'The Docker engine did not say hello within 0.3 s.' },
    );
  }
  await engine.ask('say hello', signal, (docker) => docker.ping());
});

test('an engine that is restarted is waited for; its containers are known to be gone, and those to come are followed', async () => {
  await using containers = await openContainers('again');
  const before = await start(containers, 'kiln-again-1', 'sleep', '1000');
  const restarting = dockerd.restart({ downMs: 1500 });
  await before.ended;
  await sleep(200);
  const created = await containers.create(request('kiln-again-2', 'sleep', '1000'), signal);
  await restarting;
  await created.container.start();
  await before.remove();
  // Followed again once it has connected anew.
  await sleep(2500);
  await dockerd.docker('rm', '-f', 'kiln-again-2');
  await created.ended;
  await created.remove();
});
