import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import { prepareDqdImage, prepareHost } from '../../src/host-setup.ts';
import { imageInside } from '../../src/images/dqd-image.ts';
import type { VmImage } from '../../src/model/vm-image.ts';
import { Containers } from '../../src/vm/docker/containers.ts';
import { createDockerLauncher } from '../../src/vm/docker/docker-launcher.ts';
import { connectDocker } from '../../src/vm/docker/engine.ts';
import { loadImage } from '../../src/vm/docker/load-image.ts';
import { createHotPlug } from '../../src/vm/hot-plug.ts';
import type { Launcher, QemuProcess } from '../../src/vm/launcher.ts';
import { createProcessUsers } from '../../src/vm/process-users.ts';
import { hotPlugPorts } from '../../src/vm/qemu-arguments.ts';
import { createVmFolder, type VmFolder } from '../../src/vm/vm-folder.ts';
import { startDockerEngine, type TestEngine } from '../docker-engine.ts';

/** Containers of the pool with a real QEMU, whose machine stands still: nothing of a guest is needed to see how they live and end. */
const run = promisify(execFile);
const signal = AbortSignal.timeout(900_000);
const users = createProcessUsers(true);
const logger = { info: () => undefined, warn: () => undefined, error: console.error };
let base: string;
let engine: TestEngine;
let containers: Containers;
let image: VmImage;
let launcher: Launcher;

before(
  async () => {
    base = await mkdtemp(join(tmpdir(), 'kiln-pool-'));
    await chmod(base, 0o711);
    const config = parseConfig({ KILN_DRIVER: 'docker' }, true);
    const options = {
      path: process.env['PATH'] ?? '',
      progress: (line: string) => console.log(line),
      signal,
    };
    const host = await prepareHost(config, { ...options, sealsDirectory: null });
    engine = await startDockerEngine();
    containers = new Containers(await connectDocker({ host: engine.host, certificates: null }), {
      ...{ installation: 'pool-test', logger },
    });
    await containers.open(signal);
    const dqd = await prepareDqdImage(config, options, host.made[0]);
    image = imageInside(host.made[0], await loadImage(containers.engine, dqd, signal));
    const vm = { cpus: 1, memoryMiB: 64 };
    launcher = await createDockerLauncher({ containers, vm, image, sharedDirectory: base }, signal);
  },
  { timeout: 900_000 },
);
after(async () => {
  await containers?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

type Machine = AsyncDisposable & {
  readonly qemu: QemuProcess;
  readonly folder: VmFolder;
  readonly name: string;
};

let machines = 0;

async function startMachine(...more: readonly string[]): Promise<Machine> {
  machines += 1;
  const name = `standing-${machines}`;
  const overlay = join(base, `overlay-${machines}`);
  await launcher.createOverlay({ image, backing: image.disk, overlay, bytes: 1024 ** 3 }, signal);
  const { user, release } = users.acquire();
  const folder = await createVmFolder(join(base, name), overlay, user);
  const qemu = await launcher.start(
    {
      ...{ accelerator: 'tcg', image, user, directory: folder.path, reads: [] },
      args: [
        ...['-name', name, '-M', 'q35', '-S', '-m', '16M', '-display', 'none', '-nodefaults'],
        ...hotPlugPorts.flatMap((id, at) => ['-device', `pcie-root-port,id=${id},chassis=${at + 1}`]),
        ...['-drive', `if=none,id=root,file=${folder.disk},format=qcow2`],
        ...[
          '-netdev',
          'user,id=net,hostfwd=tcp:127.0.0.1:2222-:22',
          '-device',
          'virtio-net-pci,netdev=net,romfile=',
        ],
        ...['-chardev', 'stdio,id=qmp,signal=off', '-mon', 'chardev=qmp,mode=control', ...more],
      ],
    },
    signal,
  );
  return {
    ...{ qemu, folder, name },
    async [Symbol.asyncDispose]() {
      await qemu.kill();
      release();
    },
  };
}

async function isRunning(name: string): Promise<boolean> {
  return run('pgrep', ['-f', `^qemu-system.*${name}`]).then(
    () => true,
    () => false,
  );
}

test('its monitor answers, its overlay is that of the image inside, disks are plugged in, and its port is dialled again and again', async () => {
  await using machine = await startMachine();
  const { qemu, folder } = machine;
  await qemu.qmp.negotiate(signal);
  assert.match(await qemu.qmp.executeHuman('info block', signal), /Backing file:\s+\/vm\/disk\.qcow2/);
  const source = join(base, 'context');
  await writeFile(source, Buffer.alloc(4096, 7));
  const { plugFile, plugBlank } = createHotPlug(qemu.qmp, folder);
  await plugFile({ serial: 'context', source }, signal);
  await plugBlank({ serial: 'artifact', bytes: 1024 * 1024 }, signal);
  const written = await qemu.qmp.executeHuman(
    'qemu-io -d disk-artifact/virtio-backend "write -q -P 7 0 4096"',
    signal,
  );
  assert.equal(written, '');
  for (let round = 0; round < 3; round += 1) {
    const socket = await qemu.dial(2222, signal);
    assert.match(await qemu.qmp.executeHuman('info usernet', signal), /2222|HOST_FORWARD/);
    socket.destroy();
  }
  // Nobody listens there.
  const nowhere = await qemu.dial(1, signal);
  await once(nowhere.resume(), 'close', { signal });
});

test('whoever ends it knows that it is gone, and nothing of it is left but its own files', async () => {
  const machine = await startMachine();
  const { qemu, folder, name } = machine;
  assert.equal(await isRunning(name), true);
  assert.equal(await qemu.kill(), true);
  assert.equal(await isRunning(name), false);
  assert.match(await qemu.exited, /^was ended by signal 9/);
  assert.deepEqual(await readdir(folder.path), ['disk.qcow2']);
  assert.equal(await engine.docker('ps', '-aq'), '');
});

test('what QEMU says last is told', async () => {
  await using machine = await startMachine('-incoming', 'nonsense:');
  assert.match(await machine.qemu.exited, /^exited with 1: .*nonsense/);
});

test('it ends while the engine hangs, at once; who waits is told after seconds that the engine does not say so', async () => {
  await using machine = await startMachine();
  const { qemu, name } = machine;
  await qemu.qmp.negotiate(signal);
  {
    using _hanging = await engine.hang();
    const killed = qemu.kill();
    while (await isRunning(name)) await sleep(50, undefined, { signal });
    assert.equal(await killed, false);
    assert.match(await qemu.exited, /the Docker engine does not say how/);
  }
  while ((await engine.docker('ps', '-aq')) !== '') await sleep(50, undefined, { signal });
});
