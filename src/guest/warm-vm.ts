import { randomBytes } from 'node:crypto';
import type { Capabilities } from '../catalog/capabilities.ts';
import type { EgressLimits } from '../egress/egress-limits.ts';
import type { EgressPolicy } from '../egress/egress-policy.ts';
import { createEgressGateway, type EgressGateway } from '../egress/gateway.ts';
import type { EntrySummary, StepNetwork } from '../model/build.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { FrozenPooledVm, PooledVm } from '../pool/pool.ts';
import { capture } from '../ssh/capture.ts';
import { connectSsh, type SshConnection } from '../ssh/connection.ts';
import type { StartedCommand } from '../ssh/exec.ts';
import type { SshKeyPair } from '../ssh/keys.ts';
import { cloneVm } from '../vm/clone-vm.ts';
import type { CloneSource } from '../vm/template-source.ts';
import type { FrozenVm, Vm, VmSetup } from '../vm/vm.ts';
import { buildScript, reseedScript } from './guest-files.ts';
import { wayOutSocket } from './step-network.ts';

/** It takes a fraction of a second; this is for a machine that is thrashing. */
const reseedDeadlineMs = 30_000;

/** A VM that can be offered: its own random state, clock and machine-id, its one connection open, its way out in place. */
export type WarmVm = PooledVm &
  Pick<Vm, 'processor' | 'ssh' | 'plugFile' | 'plugBlank' | 'usedBytes'> & {
    readonly connection: SshConnection;
    /** `buildScript`, waiting for the build's input. */
    readonly program: StartedCommand;
    /** Closed until it is leased to a build. */
    readonly egress: EgressGateway;
    readonly stepNetwork: StepNetwork;
    /** What it was made from. */
    readonly entry: EntrySummary;
    readonly memoryMiB: number;
    /** Of its BuildKit. */
    readonly capabilities: Capabilities;
  };

export type WarmVmOptions = CloneSource & {
  readonly setup: VmSetup;
  readonly keys: SshKeyPair;
  readonly policy: EgressPolicy;
  readonly capabilities: Capabilities;
  /** That of the template. */
  readonly stepNetwork: StepNetwork;
  readonly limits: EgressLimits;
};

/** A clone of the template that does not run yet. */
export async function createFrozenVm(
  options: WarmVmOptions,
  signal: AbortSignal,
): Promise<FrozenPooledVm<WarmVm>> {
  const vm = await cloneVm(options.setup, options.template, signal);
  return {
    id: vm.id,
    gone: Promise.race([vm.exited.then((reason) => `QEMU ${reason}`), options.damaged]),
    wake: (linked) => warmUp(vm, options, linked),
    [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose](),
  };
}

/** Wakes a clone, connects, reseeds. One that cannot be made its own is destroyed, never offered. */
async function warmUp(frozen: FrozenVm, options: WarmVmOptions, signal: AbortSignal): Promise<WarmVm> {
  await using undo = new AsyncDisposableStack();
  undo.use(frozen);
  const vm = await frozen.wake(signal);
  const target = { ...vm.ssh, privateKey: options.keys.privateKey };
  const connection = undo.use(await connectSsh(target, signal));
  await capture(connection, reseedScript, {
    ...{ input: reseedInput(), signal },
    deadlineMs: reseedDeadlineMs,
  });
  const egress = undo.use(createEgressGateway(options));
  await connection.forwardIn(wayOutSocket, (stream) => egress.accept(stream), signal);
  const program = await connection.start(buildScript, signal);
  const resources = undo.move();
  return {
    id: vm.id,
    processor: vm.processor,
    ssh: vm.ssh,
    plugFile: vm.plugFile,
    plugBlank: vm.plugBlank,
    usedBytes: vm.usedBytes,
    connection,
    program,
    egress,
    stepNetwork: options.stepNetwork,
    entry: summaryOf(options.template.image),
    memoryMiB: options.setup.memoryMiB,
    capabilities: options.capabilities,
    gone: Promise.race([
      vm.exited.then((reason) => `QEMU ${reason}`),
      connection.closed.then((reason) => `its ssh connection was lost: ${reason}`),
      options.damaged,
    ]),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** The format is described at the top of programs/reseed.pl. */
function reseedInput(): Buffer {
  const now = Date.now();
  const clock = `${Math.floor(now / 1000)} ${(now % 1000) * 1_000_000}`;
  return Buffer.concat([randomBytes(64), Buffer.from(`${clock} ${randomBytes(16).toString('hex')}\n`)]);
}

function summaryOf({ entry, digest, versions }: VmImage): EntrySummary {
  return { name: entry, imageDigest: digest, versions };
}
