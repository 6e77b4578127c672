import { setTimeout as sleep } from 'node:timers/promises';
import type { ArtifactStore } from '../artifacts/artifact-store.ts';
import { type BuildctlResult, runBuildctl } from '../buildkit/run-buildctl.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import { withDeadline } from '../lib/abort.ts';
import type { Artifact, EgressDestination, Verdict } from '../model/build.ts';
import type { StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import type { BuildSpec } from '../model/spec.ts';
import type { Lease, Pool } from '../pool/pool.ts';
import type { Queue } from '../queue/queue.ts';
import type { BlankDisk } from '../vm/vm.ts';
import type { Journal } from './journal.ts';
import { verdictOfError, verdictOfExit } from './verdict.ts';

/** One accepted build and what it was given. */
export type AcceptedBuild = {
  readonly journal: Journal;
  readonly context: StagedContext | null;
  readonly dockerfile: Buffer | null;
  /** Its turn in the queue. */
  readonly turn: ReturnType<Queue['enter']>;
};

const fullDiskRetryMs = 1000;

export type RunDependencies = {
  readonly pool: Pool<WarmVm>;
  readonly artifacts: ArtifactStore;
  readonly maxArtifactBytes: number;
  readonly defaultTimeoutSeconds: number;
  /** Aborts when the service ends its builds. */
  readonly stopping: AbortSignal;
};

/**
 * The life of a build: its turn → a VM of its own → the context as a disk → buildctl, its log and events as they come →
 * the artifact → the verdict. The VM is gone when this resolves. Never rejects for anything that is the build's own.
 */
export async function runBuild(
  build: AcceptedBuild,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { journal } = build;
  const egress: EgressDestination[] = [];
  let verdict: Verdict;
  try {
    using _slot = await build.turn;
    verdict = await buildOnLease(build, { ...deps, egress }, signal);
  } catch (error) {
    verdict = verdictOfError(error);
  } finally {
    await build.context?.[Symbol.asyncDispose]();
  }
  await finish(journal, { verdict, egress }, deps.stopping);
}

/** A full disk leaves no build without its end, which is written once there is room, unless the service stops first. */
async function finish(
  journal: Journal,
  { verdict, egress }: { verdict: Verdict; egress: readonly EgressDestination[] },
  stopping: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await journal.finish(verdict, egress);
      return;
    } catch (error) {
      if (KilnError.from(error).code === 'STORAGE_FULL' && !stopping.aborted) {
        await sleep(fullDiskRetryMs, undefined, { signal: stopping }).catch(() => undefined);
        continue;
      }
      await journal.close();
      throw error;
    }
  }
}

/** How many VMs one build may lose. */
const maxAttempts = 2;

/**
 * A VM that is lost before its build has said a word is replaced once: nobody has seen anything of the first attempt but the
 * warning. After that a second attempt would say everything twice.
 */
async function buildOnLease(
  build: AcceptedBuild,
  deps: RunDependencies & { egress: EgressDestination[] },
  signal: AbortSignal,
): Promise<Verdict> {
  const { journal } = build;
  for (let attempt = 1; ; attempt += 1) {
    const lease = await deps.pool.acquire(signal);
    try {
      return await buildInVm(build, lease, deps, signal);
    } catch (error) {
      const { code, message } = KilnError.from(error);
      if (code !== 'INFRA' || journal.files.log.size > 0 || attempt === maxAttempts) throw error;
      await journal.event({ type: 'warning', message: `${message} Trying once more in another one.` });
    } finally {
      deps.egress.push(...lease.vm.egress.destinations());
      await lease[Symbol.asyncDispose]();
    }
  }
}

async function buildInVm(
  build: AcceptedBuild,
  lease: Lease<WarmVm>,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<Verdict> {
  const { spec } = build.journal.record;
  const seconds = spec.timeoutSeconds ?? deps.defaultTimeoutSeconds;
  const reason = (): Error =>
    new KilnError('TIMEOUT', `The build took longer than the ${seconds} s it was given.`);
  return withDeadline({ ms: seconds * 1000, signal, reason }, async (limited) => {
    const { result, artifactDisk } = await runInGuest(build, lease.vm, deps, limited);
    const { output } = spec;
    if (result.exitCode === 0 && output !== 'none' && artifactDisk)
      await keepArtifact({ build, lease, output, result, artifactDisk }, deps, limited);
    return verdictOfExit(result.exitCode);
  });
}

async function runInGuest(
  { journal, context, dockerfile }: AcceptedBuild,
  vm: WarmVm,
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<{ result: BuildctlResult; artifactDisk: BlankDisk | null }> {
  const { spec } = journal.record;
  const lost = new AbortController();
  void vm.gone.then((reason) =>
    lost.abort(new KilnError('INFRA', `The VM of this build went away: ${reason}`)),
  );
  const linked = AbortSignal.any([signal, lost.signal]);
  vm.watchEgress((destination) => void journal.event({ type: 'egress', destination }).catch(() => undefined));
  const { accelerator } = vm.machine.processor;
  await journal.reach('leased', { state: 'running', vm: { id: vm.id, accelerator } });
  await journal.event({ type: 'state', state: 'running' });
  // The guest's program waits for its disks, so they are plugged in while it starts.
  const plugged = plugDisks(
    { vm, context, output: spec.output, maxArtifactBytes: deps.maxArtifactBytes },
    linked,
  );
  plugged.catch((error: unknown) => lost.abort(error));
  const result = await runBuildctl(
    vm.program,
    {
      spec,
      contextDisk: context && contextSerial,
      artifactDisk: spec.output === 'none' ? null : artifactSerial,
      dockerfile,
      onLog: (bytes) => journal.log(bytes),
      onStatus: (status) => journal.status(status),
      onContextReady: () => journal.reach('contextReady'),
    },
    linked,
  );
  const artifactDisk = await plugged;
  await journal.reach('buildFinished', { imageDigest: result.imageDigest });
  return { result, artifactDisk };
}

const contextSerial = 'context';
const artifactSerial = 'artifact';

type Disks = {
  readonly vm: WarmVm;
  readonly context: StagedContext | null;
  readonly output: BuildSpec['output'];
  readonly maxArtifactBytes: number;
};

async function plugDisks(
  { vm: { machine }, context, output, maxArtifactBytes }: Disks,
  signal: AbortSignal,
): Promise<BlankDisk | null> {
  if (context) await machine.plugFile({ serial: contextSerial, source: context.path }, signal);
  if (output === 'none') return null;
  // Of the largest size an artifact may have; it is cut to what the guest wrote.
  return machine.plugBlank({ serial: artifactSerial, bytes: maxArtifactBytes }, signal);
}

/** Out of the VM's folder first, then the VM is destroyed, then the bytes are read: nobody writes them any more. */
async function keepArtifact(
  kept: {
    build: AcceptedBuild;
    lease: Lease<WarmVm>;
    output: Artifact['format'];
    result: BuildctlResult;
    artifactDisk: BlankDisk;
  },
  deps: RunDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { build, lease, output, result, artifactDisk } = kept;
  const { journal } = build;
  const file = deps.artifacts.incomingPath(journal.record.id);
  await artifactDisk.moveTo(file);
  await lease[Symbol.asyncDispose]();
  const artifact = await deps.artifacts.keep(file, { format: output, bytes: result.artifactBytes }, signal);
  await journal.change({ artifact });
  await journal.event({ type: 'artifact', artifact });
}
