import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import type { EgressGateway } from '../../src/egress/gateway.ts';
import { prepareNetworkPrograms } from '../../src/host-setup.ts';
import { waitFor } from '../e2e/harness.ts';
import { installTools } from '../install-tools.ts';
import { tied } from '../tied.ts';

const run = promisify(execFile);
const networkScript = fileURLToPath(new URL('../../src/guest/programs/network.sh', import.meta.url));

/** Where a program of the guest runs: beside buildkitd, or in a step with an address of its own. */
export type Place = 'vm' | 'step';

export type Staying = Disposable & {
  readonly pid: number;
  /** All that it printed so far. */
  printed(): string;
  readonly ended: Promise<unknown>;
};

/** The network of a VM without the VM: its rules and its relay, in network namespaces of this machine. */
export type GuestNetwork = AsyncDisposable & {
  /** Runs a JavaScript module there. @returns what it printed, without blanks at the ends. */
  run(place: Place, script: string): Promise<string>;
  /** Starts one that stays, once it has printed its first line. */
  start(place: Place, script: string): Promise<Staying>;
  /** What happens where a relay crashes: systemd starts another one, a moment later. */
  endRelay(): Promise<void>;
  startRelay(): Promise<void>;
};

/** @param gateway Kiln's end; without one nobody serves the way out. */
export async function createGuestNetwork(gateway: EgressGateway | null): Promise<GuestNetwork> {
  await using undo = new AsyncDisposableStack();
  await installTools([
    { find: 'iptables-restore', package: 'iptables' },
    { find: 'ip', package: 'iproute2' },
    { find: 'nsenter', package: 'util-linux' },
  ]);
  const programs = await prepareNetworkPrograms(parseConfig({}, true), {
    path: process.env['PATH'] ?? '',
    progress: (line) => console.log(line),
    signal: new AbortController().signal,
  });
  const directory = await mkdtemp(join(tmpdir(), 'kiln-guest-'));
  undo.defer(() => rm(directory, { recursive: true }));
  const socket = join(directory, 'way-out.sock');
  if (gateway) undo.use(await serveWayOut(gateway, socket));
  const pids = { vm: undo.use(await createNamespace()).pid, step: undo.use(await createNamespace()).pid };
  const inside = (place: Place): string[] => ['--target', String(pids[place]), '--net'];
  const shell = (place: Place, script: string): Promise<unknown> =>
    run('nsenter', [...inside(place), 'sh', '-euc', script]);
  await shell('vm', vmDevices(pids.step));
  await shell('step', stepDevices);
  await run('nsenter', [...inside('vm'), 'sh', networkScript]);

  const startRelay = async (): Promise<Staying> => {
    const relay = stay('nsenter', [...inside('vm'), join(programs, 'relay'), socket]);
    const queues = async (): Promise<string> =>
      (await run('nsenter', [...inside('vm'), 'cat', '/proc/self/net/netfilter/nfnetlink_queue'])).stdout;
    await waitFor(async () => /^\s*61\s/m.test(await queues()), 'the relay is ready');
    return relay;
  };
  let relay = await startRelay();
  undo.defer(() => relay[Symbol.dispose]());
  const resources = undo.move();
  const node = (script: string): string[] => [process.execPath, '--input-type=module', '--eval', script];
  return {
    async run(place, script) {
      return (
        await run('nsenter', [...inside(place), ...node(script)], { maxBuffer: 2 ** 24 })
      ).stdout.trim();
    },
    async start(place, script) {
      const child = stay('nsenter', [...inside(place), ...node(script)]);
      await begins(child);
      return child;
    },
    async endRelay() {
      relay[Symbol.dispose]();
      await relay.ended;
    },
    async startRelay() {
      await run('nsenter', [...inside('vm'), 'sh', networkScript]);
      relay = await startRelay();
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** As QEMU's network and the bridge of the CNI plugins make them. */
function vmDevices(stepPid: number): string {
  return `
    ip link set lo up
    ip link add ens3 type veth peer name nowhere
    ip address add 10.0.2.15/24 dev ens3
    ip link set ens3 up
    ip link set nowhere up
    ip route add default via 10.0.2.2 dev ens3 onlink
    ip link add kiln0 type bridge
    ip address add 172.30.0.1/16 dev kiln0
    ip link set kiln0 up
    sysctl -qw net.ipv4.ip_forward=1
    ip link add veth0 type veth peer name eth0 netns ${stepPid}
    ip link set veth0 master kiln0 up`;
}

const stepDevices = `
  ip link set lo up
  ip address add 172.30.0.2/16 dev eth0
  ip link set eth0 up
  ip route add default via 172.30.0.1`;

async function createNamespace(): Promise<Staying> {
  // Prints when it has left this machine's own network.
  const holder = stay('unshare', ['--net', 'sh', '-c', 'echo; exec sleep infinity']);
  await begins(holder);
  return holder;
}

/** A program that stays until it is disposed of. */
function stay(command: string, args: readonly string[]): Staying {
  const child = spawn(...tied(command, args), { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  return {
    pid: child.pid ?? -1,
    printed: () => text,
    ended: once(child, 'close'),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}

/** The first line of it. */
function begins(program: Staying): Promise<void> {
  return waitFor(async () => program.printed().includes('\n'), 'a program has begun');
}

async function serveWayOut(gateway: EgressGateway, path: string): Promise<AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, (stream) => gateway.accept(stream));
  server.listen({ path, backlog: 4096 });
  await once(server, 'listening');
  return {
    async [Symbol.asyncDispose]() {
      gateway[Symbol.dispose]();
      server.close();
      await once(server, 'close');
    },
  };
}
