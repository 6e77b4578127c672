import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepContext } from '../host/run-step.ts';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process.ts';
import { KilnError } from '../model/error.ts';

/** A buildkitd on the host that builds the VM image. Disposing ends it and removes its state. */
export type Builder = AsyncDisposable & { readonly address: string };

const prefix = 'builder-';
const startDeadlineMs = 60_000;
const pollMs = 100;

/** Ends with kiln, and takes with it the steps it runs and what they have mounted. */
const contained = [
  ...['--pdeathsig=KILL', '--', 'unshare', '--pid', '--mount', '--mount-proc', '--fork', '--kill-child=KILL'],
  '--',
];

/** What a run that was killed left behind; its buildkitd ended with it. Kilns that share a cache make images one at a time, under a lock. */
async function removeStale(cacheDirectory: string): Promise<void> {
  const stale = (await readdir(cacheDirectory)).filter((name) => name.startsWith(prefix));
  await Promise.all(stale.map((name) => removeQuietly(join(cacheDirectory, name))));
}

/** The operator's own buildkitd; nothing of it is ours to end. */
export function useBuilder(address: string): Builder {
  return { address, [Symbol.asyncDispose]: async () => undefined };
}

/** Starts a buildkitd of the binaries in `bins`, as root, reachable through a socket in a folder of its own only. */
export async function startBuilder(
  bins: string,
  context: StepContext & { cacheDirectory: string; path: string },
): Promise<Builder> {
  await mkdir(context.logDirectory, { recursive: true });
  await removeStale(context.cacheDirectory);
  const directory = await mkdtemp(join(context.cacheDirectory, prefix));
  const address = `unix://${directory}/buildkitd.sock`;
  const log = openSync(join(context.logDirectory, 'buildkitd.log'), 'a');
  // buildkitd looks for its runc in the PATH.
  const command = [
    'env',
    `PATH=${bins}:${context.path}`,
    'buildkitd',
    '--root',
    join(directory, 'root'),
    '--addr',
    address,
  ];
  const workers = ['--containerd-worker=false', '--oci-worker-snapshotter=overlayfs'];
  const child = spawn('setpriv', [...contained, ...command, ...workers], { stdio: ['ignore', log, log] });
  closeSync(log);
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(String(signal ?? code)));
  });
  const builder: Builder = {
    address,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      await removeQuietly(directory);
    },
  };
  try {
    await waitUntilReady({ bins, address, exited, logDirectory: context.logDirectory }, context.signal);
    return builder;
  } catch (error) {
    await builder[Symbol.asyncDispose]();
    throw error;
  }
}

async function waitUntilReady(
  {
    bins,
    address,
    exited,
    logDirectory,
  }: { bins: string; address: string; exited: Promise<string>; logDirectory: string },
  signal: AbortSignal,
): Promise<void> {
  let ended: string | null = null;
  void exited.then((status) => {
    ended = status;
  });
  const deadline = performance.now() + startDeadlineMs;
  for (;;) {
    const answered = await runTool(
      join(bins, 'buildctl'),
      ['--addr', address, 'debug', 'workers'],
      signal,
    ).then(
      () => true,
      () => false,
    );
    if (answered) return;
    signal.throwIfAborted();
    if (ended !== null || performance.now() > deadline) {
      throw new KilnError(
        'INFRA',
        `buildkitd did not start on this host (${ended ?? 'no answer'}); see ${logDirectory}/buildkitd.log`,
      );
    }
    await sleep(pollMs, undefined, { signal });
  }
}
