import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { withDeadline } from '../../lib/abort.ts';
import { waitForEnd } from '../../lib/process/start-process.ts';
import type { Accelerator } from '../../model/build.ts';
import { KilnError } from '../../model/error.ts';
import type { VmImage } from '../../model/vm-image.ts';
import type { QemuProgram } from '../find-qemu.ts';
import type { Launcher, LaunchRequest, OverlayRequest, QemuProcess } from '../launcher.ts';
import { QmpClient } from '../qmp.ts';
import type { ContainerLimits } from './container-options.ts';
import type { Containers, OwnContainer } from './containers.ts';
import { runContainer } from './run-container.ts';
import { listenForVm, type VmSockets } from './vm-sockets.ts';

export type DockerLauncherOptions = {
  readonly containers: Containers;
  readonly vm: { readonly cpus: number; readonly memoryMiB: number };
  /** Any dqd image: all have the same QEMU. */
  readonly image: VmImage;
  /** A folder that containers must find where kiln does. */
  readonly sharedDirectory: string;
};

const qemu = 'qemu-system-x86_64';
/** What QEMU takes beside the guest's memory: under emulation its translated code, a GiB at most. */
const overheadMiB: Readonly<Record<Accelerator, number>> = { kvm: 512, tcg: 1536 };
/** A container is there in half a second; this is for a machine that is thrashing. */
const startDeadlineMs = 30_000;
const overlayScript =
  'qemu-img create -q -u -f qcow2 -F qcow2 -b "$1" /run/vm/overlay "$2" && cat /run/vm/overlay';

/**
 * QEMU in containers of dqd images. They share no network with anybody: monitor and ssh go through sockets in the VM's folder, so
 * a VM goes on while the Docker engine does not answer, and its end is seen at once.
 * @throws KilnError REQUIREMENT_MISSING where containers do not see kiln's folders; INFRA
 */
export async function createDockerLauncher(
  options: DockerLauncherOptions,
  signal: AbortSignal,
): Promise<Launcher> {
  const { containers } = options;
  const limits = await readLimits(options, signal);
  const run: Launcher['run'] = ({ args, image: of, accelerator }) => {
    const command = [qemu, ...args];
    return runContainer(containers, { command, image: of.digest, limits: limits(accelerator), accelerator });
  };
  return {
    qemu: await examine(options, limits('tcg'), signal),
    start: (request, linked) => startVm({ containers, limits: limits(request.accelerator), request }, linked),
    run,
    createOverlay: (request, linked) =>
      createOverlay({ containers, limits: limits('tcg'), ...request }, linked),
  };
}

type LimitsFor = (accelerator: Accelerator) => ContainerLimits;

/** An engine refuses to give a container more processors than it has. */
async function readLimits(
  { containers, vm }: DockerLauncherOptions,
  signal: AbortSignal,
): Promise<LimitsFor> {
  const info: { NCPU?: number } = await containers.engine.ask('say what it is', signal, (docker) =>
    docker.info(),
  );
  const cpus = Math.min(vm.cpus, info.NCPU ?? vm.cpus);
  return (accelerator) => ({ cpus, memoryMiB: vm.memoryMiB + overheadMiB[accelerator] });
}

/** Finds out which QEMU it is, and whether a file of kiln's is there under the same name. */
async function examine(
  { containers, image, sharedDirectory }: DockerLauncherOptions,
  limits: ContainerLimits,
  signal: AbortSignal,
): Promise<QemuProgram> {
  const file = join(sharedDirectory, `shared-${randomUUID()}`);
  await writeFile(file, 'seen\n', { mode: 0o600 });
  try {
    const command = ['sh', '-c', `cat "$1"; exec ${qemu} --version`, 'sh', file];
    const running = runContainer(containers, {
      ...{ command, image: image.digest, limits, accelerator: 'tcg', reads: [sharedDirectory] },
    });
    const [said, end] = await Promise.all([text(running.stdout), waitForEnd(running, signal)]);
    const [, major, minor] = /version (\d+)\.(\d+)/.exec(said) ?? [];
    if (!end.succeeded || !said.startsWith('seen\n') || major === undefined || minor === undefined) {
      throw new KilnError(
        'REQUIREMENT_MISSING',
        `Containers of ${containers.engine.host} do not see ${sharedDirectory}: the Docker engine must be on this machine, with the same folders. A container that looked there ${end.how}.`,
      );
    }
    const [version = ''] = said.split('\n').slice(1);
    return { binary: `${qemu} of ${image.digest}`, version, major: Number(major), minor: Number(minor) };
  } finally {
    await rm(file, { force: true });
  }
}

async function startVm(
  vm: { containers: Containers; limits: ContainerLimits; request: LaunchRequest },
  signal: AbortSignal,
): Promise<QemuProcess> {
  const { containers, limits, request } = vm;
  const { args, image, user, accelerator, directory, reads, stateFile } = request;
  await using undo = new AsyncDisposableStack();
  const sockets = undo.use(await listenForVm({ directory, user }, signal));
  const container = await containers.create(
    {
      ...{ user, limits, accelerator, directory, reads, image: image.digest, scratch: false },
      name: `kiln-${containers.installation}-${randomUUID()}`,
      command: ['/pool.pl', stateFile ?? '-', qemu, ...args],
    },
    signal,
  );
  undo.defer(async () => void (await container.remove()));
  const monitor = await connectMonitor({ containers, container, sockets }, signal);
  undo.move();
  const qmp = new QmpClient(monitor, monitor);
  const ended = Promise.race([
    new Promise<void>((resolve) => void monitor.once('close', () => resolve())),
    container.ended,
  ]);
  const exited = ended.then(async () => {
    const how = await container.describeEnd();
    return qmp.fault === null ? how : `${how}, as its monitor could not be read: ${qmp.fault}`;
  });
  let killed: Promise<boolean> | null = null;
  const end = async (): Promise<boolean> => {
    // It ends by this alone, whether the engine answers or not.
    await sockets[Symbol.asyncDispose]();
    // Its last words go with the container.
    await exited;
    return container.remove();
  };
  const kill = (): Promise<boolean> => {
    killed ??= end();
    return killed;
  };
  void qmp.broken.then(kill);
  return { qmp, exited, dial: (port, linked) => sockets.dial(port, linked), kill };
}

/** Starts the container, and waits until QEMU has its monitor. */
function connectMonitor(
  vm: { containers: Containers; container: OwnContainer; sockets: VmSockets },
  signal: AbortSignal,
) {
  const { containers, container, sockets } = vm;
  const reason = (): Error =>
    new KilnError('INFRA', `The container of a VM did not start within ${startDeadlineMs / 1000} s.`);
  return withDeadline({ ms: startDeadlineMs, signal, reason }, async (linked) => {
    await containers.engine.ask('start a container', linked, (_docker, abortSignal) =>
      container.container.start({ abortSignal }),
    );
    let connected = false;
    const early = container.ended.then(async (): Promise<never> => {
      const how = connected ? 'ended' : await container.describeEnd();
      throw new KilnError('INFRA', `The container of a VM ${how}.`);
    });
    const monitor = await Promise.race([sockets.monitor(linked), early]);
    connected = true;
    return monitor;
  });
}

/** Its bytes come out of the container, so that it needs no folder to write in. */
async function createOverlay(
  request: OverlayRequest & { containers: Containers; limits: ContainerLimits },
  signal: AbortSignal,
): Promise<void> {
  const { containers, limits, image, backing, overlay, bytes } = request;
  const running = runContainer(containers, {
    command: ['sh', '-c', overlayScript, 'sh', backing, String(bytes)],
    ...{ image: image.digest, limits, accelerator: 'tcg', scratch: true },
  });
  const file = createWriteStream(overlay, { flags: 'wx', mode: 0o600 });
  const [end] = await Promise.all([waitForEnd(running, signal), pipeline(running.stdout, file)]);
  if (!end.succeeded) throw new KilnError('INFRA', `qemu-img in a container ${end.how}.`);
}
