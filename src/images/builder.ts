import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdLock } from '../host/hold-lock.ts';
import type { StepContext } from '../host/run-step.ts';
import { openStepLog } from '../host/step-log.ts';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';
import { type ProcessEnd, type RunningProcess, startLogged } from '../lib/process/start-process.ts';
import { KilnError } from '../model/error.ts';

/** A buildkitd on the host that builds the VM image. Disposing ends it and removes its state. */
export type Builder = AsyncDisposable & { readonly address: string };

const prefix = 'builder-';
const startDeadlineMs = 60_000;
const pollMs = 100;

/** Takes with it the steps it runs, wherever they hide, and what they have mounted. */
const contained = ['--pid', '--mount', '--mount-proc', '--fork', '--kill-child=KILL', '--'];

/** What a run that was killed left behind; its buildkitd ended with it. Only for who holds the lock: the folder of one that runs looks no different. */
async function removeStale(cacheDirectory: string): Promise<void> {
  const stale = (await readdir(cacheDirectory)).filter((name) => name.startsWith(prefix));
  await Promise.all(stale.map((name) => removeQuietly(join(cacheDirectory, name))));
}

/** The operator's own buildkitd; nothing of it is ours to end. */
export function useBuilder(address: string): Builder {
  return { address, [Symbol.asyncDispose]: async () => undefined };
}

/**
 * Starts a buildkitd of the binaries in `bins`, as root, reachable through a socket in a folder of its own only. It ends with kiln.
 * There is one at a time in a cache, whichever entries, targets and kilns want one: a further one waits for its end.
 */
export async function startBuilder(
  bins: string,
  context: StepContext & { cacheDirectory: string; path: string },
): Promise<Builder> {
  await using undo = new AsyncDisposableStack();
  undo.use(
    await holdLock(join(context.cacheDirectory, 'builder.lock'), {
      onWait: () => context.progress('builder  another image is being built, waiting for that'),
      signal: context.signal,
    }),
  );
  await removeStale(context.cacheDirectory);
  await using log = await openStepLog(context.logDirectory, 'buildkitd');
  const directory = await mkdtemp(join(context.cacheDirectory, prefix));
  undo.defer(() => removeQuietly(directory));
  const address = `unix://${directory}/buildkitd.sock`;
  const program = [join(bins, 'buildkitd'), '--root', join(directory, 'root'), '--addr', address];
  const workers = ['--containerd-worker=false', '--oci-worker-snapshotter=overlayfs'];
  // buildkitd looks for its runc in the PATH.
  const daemon = startLogged({ command: 'unshare', args: [...contained, ...program, ...workers] }, log.fd, {
    env: { PATH: `${bins}:${context.path}` },
  });
  undo.defer(async () => void (await daemon.kill()));
  await waitUntilReady({ bins, address, daemon, logFile: log.file }, context.signal);
  const running = undo.move();
  return { address, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function waitUntilReady(
  builder: { bins: string; address: string; daemon: RunningProcess; logFile: string },
  signal: AbortSignal,
): Promise<void> {
  const { bins, address, daemon, logFile } = builder;
  let end: ProcessEnd | null = null;
  void daemon.ended.then((ended) => {
    end = ended;
  });
  const question = ['--addr', address, 'debug', 'workers'];
  const deadline = performance.now() + startDeadlineMs;
  for (;;) {
    const answered = await runTool(join(bins, 'buildctl'), question, signal).then(
      () => true,
      () => false,
    );
    if (answered) return;
    signal.throwIfAborted();
    const { how } = end ?? { how: 'does not answer' };
    if (end !== null || performance.now() > deadline) {
      throw new KilnError('INFRA', `buildkitd did not start on this host: it ${how}; see ${logFile}`);
    }
    await sleep(pollMs, undefined, { signal });
  }
}
