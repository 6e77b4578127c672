import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { type TestService, testData, waitFor } from '../e2e/harness.ts';
import type { Origin } from '../e2e/origin.ts';

/** What must be reached: by kiln's own figure, in its unit, or by the ratio. */
export type Goal = readonly [figure: 'kiln' | 'ratio', relation: '≥' | '≤', bound: number];

/** One figure of kiln beside its baseline, both measured in this run. */
export type Row = {
  readonly what: string;
  readonly kiln: number;
  readonly baseline: number;
  readonly unit: string;
  readonly ratio: number;
  readonly goal: Goal | null;
};

/** What the service of a bench has around it; `env` opens the origin to builds. */
export type Surroundings = {
  readonly origin: Origin;
  readonly registryUrl: string;
  readonly env: Record<string, string>;
};

export type Bench = (service: TestService, surroundings: Surroundings) => Promise<Row[]>;

export const MiB = 1024 * 1024;

/** Milliseconds. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** The pool has all that it keeps: nothing of the refill shall take the processors from what is measured. */
export function waitUntilWarm({ pool }: TestService, { leased } = { leased: 0 }): Promise<void> {
  const settled = async (): Promise<boolean> => {
    const { warm, frozen, starting, ending } = pool.status;
    const all = warm + frozen + leased;
    return warm >= 2 && all >= 4 && starting + ending === 0 && pool.status.leased === leased;
  };
  return waitFor(settled, 'the pool is full and no other VM lives');
}

/** A shell command line of a user, to its end; its output is read and dropped unless asked for. */
export async function shell(command: string, onOutput?: (text: string) => void): Promise<void> {
  const child = spawn('bash', ['-o', 'pipefail', '-c', command], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.setEncoding('utf8').on('data', onOutput ?? (() => undefined));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`exit status ${status}: ${command}`);
}

/** The plain OpenSSH client into a VM, as somebody without kiln would work: `${ssh.command} 'what to run'`. */
export async function plainSsh({ ssh }: WarmVm): Promise<AsyncDisposable & { command: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-bench-'));
  const known = join(directory, 'known_hosts');
  const port = await portOf(ssh);
  await writeFile(known, `[127.0.0.1]:${port} ${ssh.hostKey}\n`);
  const options = [`UserKnownHostsFile=${known}`, 'StrictHostKeyChecking=yes', 'LogLevel=ERROR'];
  const key = join(testData, 'ssh_ed25519');
  return {
    command: `ssh -i ${key} -p ${port} ${options.map((option) => `-o ${option}`).join(' ')} root@127.0.0.1`,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

/** Of a VM whose QEMU is a process of this machine. */
async function portOf({ open }: WarmVm['ssh']): Promise<number> {
  const socket = await open(AbortSignal.timeout(10_000));
  await once(socket, 'connect');
  const { remotePort = Number.NaN } = socket;
  socket.destroy();
  return remotePort;
}
