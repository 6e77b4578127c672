import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { installTools } from './install-tools.ts';
import { tied } from './tied.ts';

const run = promisify(execFile);
const startDeadlineMs = 60_000;

export type TestEngine = AsyncDisposable & {
  /** Its socket, in the words of $DOCKER_HOST. */
  readonly host: string;
  /** Its folder, which goes with it. */
  readonly directory: string;
  /** The docker client, as a user calls it: what it prints. */
  docker(...args: readonly string[]): Promise<string>;
  /** Stops dockerd, and nothing else, until that is disposed: whoever asks it is not answered. */
  hang(): Promise<Disposable>;
  /** Ends dockerd, by SIGTERM unless it was killed, and starts it again. */
  restart(options?: { downMs?: number }): Promise<void>;
};

/**
 * A real Docker engine of its own: another socket, other folders, no network unless it is given a bridge, so that it disturbs no other.
 * @param options.flags Further words for dockerd.
 */
export async function startDockerEngine(
  options: { bridge?: string; flags?: readonly string[] } = {},
): Promise<TestEngine> {
  await installTools([
    { find: 'dockerd', package: 'docker.io' },
    { find: 'docker', package: 'docker.io' },
  ]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-docker-'));
  const host = `unix://${directory}/docker.sock`;
  const folders = [
    `--data-root=${directory}/data`,
    `--exec-root=${directory}/run`,
    `--pidfile=${directory}/pid`,
  ];
  const network = [`--bridge=${options.bridge ?? 'none'}`, '--iptables=false', '--ip6tables=false'];
  const args = ['--host', host, ...folders, ...network, ...(options.flags ?? [])];
  const docker = async (...words: readonly string[]): Promise<string> =>
    (await run('docker', ['--host', host, ...words])).stdout.trim();
  // It has a containerd to end.
  const start = () => spawn(...tied('dockerd', args, { signal: 'TERM' }), { stdio: 'ignore' });
  let child = start();
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  };
  const waitUntilUp = async (): Promise<void> => {
    const deadline = performance.now() + startDeadlineMs;
    const up = (): Promise<boolean> =>
      docker('info').then(
        () => true,
        () => false,
      );
    while (!(await up())) {
      if (performance.now() > deadline) throw new Error('The Docker engine does not answer.');
      await sleep(100);
    }
  };
  await waitUntilUp();
  return {
    ...{ host, directory, docker },
    async hang() {
      const { pid, kill } = { pid: child.pid, kill: child.kill.bind(child) };
      kill('SIGSTOP');
      // Each of its threads stops a moment later, and may answer until then.
      while (!(await isStopped(pid))) await sleep(5);
      return { [Symbol.dispose]: () => void kill('SIGCONT') };
    },
    async restart({ downMs = 0 } = {}) {
      await stop();
      await sleep(downMs);
      child = start();
      await waitUntilUp();
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A container that had the machine's network leaves a mount of that. */
async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  for (const mount of mounts.reverse()) {
    if (mount.startsWith(`${directory}/`)) await run('umount', [mount]);
  }
}

async function isStopped(pid: number | undefined): Promise<boolean> {
  const tasks = `/proc/${pid}/task`;
  const states = (await readdir(tasks)).map(async (task) => {
    const stat = await readFile(join(tasks, task, 'stat'), 'utf8').catch(() => ') T');
    return /\) (\S)/.exec(stat)?.[1];
  });
  return (await Promise.all(states)).every((state) => state === 'T');
}
