import type { ArtifactClaim } from '../artifacts/artifact-store.ts';
import type { FailedStep } from '../buildkit/failed-step.ts';
import { type BuildctlResult, runBuildctl } from '../buildkit/run-buildctl.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import type { Room } from '../host/disk-budget.ts';
import type { Logger } from '../lib/logger.ts';
import type { EgressDestination, Refusal } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { normalizeName } from '../model/named-context.ts';
import { keptFormat, pushesOf } from '../model/output.ts';
import type { Lease } from '../pool/pool.ts';
import type { BlankDisk } from '../vm/vm.ts';
import type { AcceptedBuild, RunDependencies } from './accepted-build.ts';
import { type BuildInput, readInput } from './build-input.ts';
import { maskOutput } from './masked-output.ts';
import { reportLostHistory } from './report-end.ts';
import { saysPushing } from './verify-pushes.ts';

/** What one VM did for a build: where it connected to, and what came of it. */
export type VmRun = { readonly egress: readonly EgressDestination[] } & (
  | FinishedRun
  | { readonly error: KilnError }
);

/** buildctl ran to its end. All of it is what the guest says, which is not to be trusted. */
export type FinishedRun = {
  readonly result: BuildctlResult;
  /** The disk it wrote its output to, out of the VM's reach once that is gone; null where there is none to keep. */
  readonly artifact: ArtifactClaim | null;
  /** Null where none did, or the trace does not say. */
  readonly failedStep: FailedStep | null;
  /** The last connection that a rule refused it. */
  readonly refusal: Refusal | null;
  /** Of its VM. */
  readonly memoryMiB: number;
};

/**
 * Waits for a VM, runs buildctl in it, and destroys it: it is gone when this resolves, whatever came of the run.
 * @throws KilnError when there is no VM to be had
 */
export async function runInVm(
  build: AcceptedBuild,
  coming: Promise<Lease<WarmVm>>,
  deps: RunDependencies & { readonly onLease: () => void; readonly onOutput: () => void },
  signal: AbortSignal,
): Promise<VmRun> {
  const leased = await coming;
  // Declared before the lease, so that it is given back after it: when the VM is gone.
  using room = await reserveRoom(build, leased, deps, signal);
  await using lease = leased;
  room.count(() => lease.vm.usedBytes());
  deps.onLease();
  const limited = AbortSignal.any([signal, room.exceeded]);
  const outcome = await runInGuest(build, lease.vm, deps, limited).catch((error: unknown) => ({
    error: KilnError.from(error),
  }));
  return { ...outcome, egress: lease.vm.egress.destinations() };
}

/** On the host's disk, for all that this build's VM may write. Where it cannot be had, the VM is given back. */
async function reserveRoom(
  { journal }: AcceptedBuild,
  lease: Lease<WarmVm>,
  { disk, vmDiskBytes, maxArtifactBytes }: RunDependencies,
  signal: AbortSignal,
): Promise<Room> {
  const mayWrite = vmDiskBytes + (keptFormat(journal.record.spec.outputs) === null ? 0 : maxArtifactBytes);
  try {
    return await disk.reserve(mayWrite, signal);
  } catch (error) {
    await lease[Symbol.asyncDispose]();
    throw error;
  }
}

async function runInGuest(
  build: AcceptedBuild,
  vm: WarmVm,
  deps: RunDependencies & { readonly onOutput: () => void },
  signal: AbortSignal,
): Promise<FinishedRun> {
  const { journal } = build;
  const format = keptFormat(journal.record.spec.outputs);
  const input = await readInput(journal.directory);
  const over = new AbortController();
  void vm.gone.then((reason) =>
    over.abort(new KilnError('INFRA', `The VM of this build went away: ${reason}`)),
  );
  const linked = AbortSignal.any([signal, over.signal]);
  await begin(build, vm);
  // The guest's program waits for its disks, so they are plugged in while it starts.
  const plugged = plugDisks(build, { vm, input, maxArtifactBytes: deps.maxArtifactBytes }, linked);
  plugged.catch((error: unknown) => over.abort(error));
  try {
    const { result, failedStep } = await runProgram(build, { vm, input, ...deps }, linked);
    for (const warning of result.warnings) await journal.warn(warning);
    const artifactDisk = await plugged;
    await journal.reach('buildFinished', { imageDigest: result.imageDigest });
    const refusal = vm.egress.lastRefusal();
    const known = { result, failedStep, refusal, memoryMiB: vm.memoryMiB };
    if (result.exitCode !== 0 || format === null || !artifactDisk) return { ...known, artifact: null };
    const file = deps.artifacts.incomingPath(journal.record.id);
    await artifactDisk.moveTo(file);
    return { ...known, artifact: { file, format, bytes: result.artifactBytes } };
  } catch (error) {
    // The VM's folder is removed next: no file may be on its way into it.
    over.abort(error);
    await plugged.catch(() => undefined);
    throw error;
  }
}

async function runProgram(
  { journal, secrets }: AcceptedBuild,
  { vm, input, logger, onOutput }: { vm: WarmVm; input: BuildInput; logger: Logger; onOutput: () => void },
  signal: AbortSignal,
): Promise<{ result: BuildctlResult; failedStep: FailedStep | null }> {
  const { spec } = journal.record;
  const { context, sources, dockerfile } = input;
  const output = maskOutput(journal, secrets);
  const pushes = pushesOf(spec).length > 0;
  const run = runBuildctl(
    vm.program,
    {
      capabilities: vm.capabilities,
      spec,
      contextDisk: context && contextSerial,
      contextFolder: context?.directory ?? '',
      namedContexts: [
        ...(context?.named ?? []),
        ...Object.entries(sources).map(([name, source]) => ({ name: normalizeName(name), source })),
      ],
      artifactDisk: keptFormat(spec.outputs) === null ? null : artifactSerial,
      dockerfile,
      secrets,
      start: (command, linked) => vm.connection.start(command, linked),
      onLog(bytes) {
        onOutput();
        return output.log(bytes);
      },
      async onStatus(status) {
        // Before anybody is told: where this kiln dies next, the record says so.
        if (pushes && !journal.record.pushBegun && saysPushing(status))
          await journal.change({ pushBegun: true });
        await output.status(status);
      },
      onContextReady: () => journal.reach('contextReady'),
      onHistoryLost: (error) => reportLostHistory(logger, journal.record.id, error),
    },
    signal,
  );
  // Also of one that failed. Why it did counts for more than what the disk does not take.
  await run.catch(() => output.end().catch(() => undefined));
  const result = await run;
  await output.end();
  return { result, failedStep: output.failedStep };
}

async function begin({ journal }: AcceptedBuild, vm: WarmVm): Promise<void> {
  vm.egress.lease({
    network: journal.record.spec.network,
    onDestination: (destination) => journal.mention({ type: 'egress', destination }),
  });
  const { accelerator } = vm.processor;
  await journal.begin({ id: vm.id, accelerator, network: vm.stepNetwork }, vm.entry);
}

const contextSerial = 'context';
const artifactSerial = 'artifact';

/** Gives the guest its context and, where an artifact is asked for, an empty disk for that. */
async function plugDisks(
  { journal }: AcceptedBuild,
  { vm, input: { context }, maxArtifactBytes }: { vm: WarmVm; input: BuildInput; maxArtifactBytes: number },
  signal: AbortSignal,
): Promise<BlankDisk | null> {
  if (context) await vm.plugFile({ serial: contextSerial, source: context.path }, signal);
  if (keptFormat(journal.record.spec.outputs) === null) return null;
  // Of the largest size an artifact may have; it is cut to what the guest wrote.
  return vm.plugBlank({ serial: artifactSerial, bytes: maxArtifactBytes }, signal);
}
