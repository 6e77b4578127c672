import { mkdir, mkdtemp, open, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { raceAbort } from '../../src/lib/abort.ts';
import type { EgressDestination } from '../../src/model/build.ts';
import { emulatedProcessor } from '../../src/vm/qemu-arguments.ts';
import { capabilities } from '../fleet/fleet-of-one.ts';

/** What a simulated guest may do while its build program runs. */
export type Guest = {
  /** Bytes of buildctl's progress. */
  log(text: string): void;
  /** A line of the program's standard output. */
  say(line: object): void;
  /** The program ends as build.sh does. */
  end(result?: { exitCode?: number; artifactBytes?: number; ref?: string; imageDigest?: string }): void;
  /** The VM goes away. */
  lose(): void;
  /** Waits for the disk for the artifact, as build.sh does, and writes to its beginning. */
  writeArtifact(bytes: Buffer): Promise<void>;
  connect(destination: EgressDestination): void;
  /** The arguments of buildctl, where no Dockerfile comes before them. */
  readonly words: readonly string[];
  /** All that the program was given. */
  readonly input: Buffer;
  /** Aborts when the host gives the program up. */
  readonly signal: AbortSignal;
};

/** Of another image than served when the builds of tests were sent. */
export const simulatedEntry = {
  name: 'buildkit-v0.20.2',
  imageDigest: 'sha256:01',
  versions: { buildkit: 'v0.20.2' },
};

export type Script = (guest: Guest) => void | Promise<void>;

export type SimulatedVms = AsyncDisposable & {
  create(entry?: string): Promise<WarmVm>;
  /** Ids of those that were not destroyed. */
  readonly alive: ReadonlySet<string>;
  readonly made: () => number;
  /** The networks that builds asked for, in the order of their leases. */
  readonly networks: readonly string[];
};

/** VMs whose guests follow scripts, the first VM the first one. Real ones are in test/e2e. */
export async function simulateVms(scripts: readonly Script[], parent = tmpdir()): Promise<SimulatedVms> {
  const folder = await mkdtemp(join(parent, 'kiln-vms-'));
  const alive = new Set<string>();
  const networks: string[] = [];
  let made = 0;
  return {
    ...{ alive, networks },
    made: () => made,
    async create(entry = simulatedEntry.name) {
      const script = scripts[made];
      if (!script) throw new Error('There is no script for another VM.');
      made += 1;
      const id = `vm-${made}`;
      const directory = join(folder, id);
      await mkdir(directory);
      alive.add(id);
      return createVm({ id, entry, directory, script, networks, onEnd: () => void alive.delete(id) });
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

function createVm(vm: {
  id: string;
  entry: string;
  directory: string;
  script: Script;
  networks: string[];
  onEnd: () => void;
}): WarmVm {
  const { id, directory, script, networks } = vm;
  const gone = Promise.withResolvers<string>();
  const artifactDisk = Promise.withResolvers<string>();
  const destinations: EgressDestination[] = [];
  let plugging = 0;
  let onDestination: (destination: EgressDestination) => void = () => undefined;
  const connect = (destination: EgressDestination): void => {
    destinations.push(destination);
    onDestination(destination);
  };
  const notThere = (): never => {
    throw new Error('A simulated VM has no ssh.');
  };
  return {
    ...{ id, processor: emulatedProcessor, ssh: { open: notThere, hostKey: '' }, gone: gone.promise },
    async plugFile() {
      plugging += 1;
      // As a busy disk takes it, whatever the build does meanwhile.
      await sleep(20);
      plugging -= 1;
    },
    usedBytes: async () => 0,
    async plugBlank({ serial, bytes }) {
      const disk = join(directory, serial);
      await writeFile(disk, '');
      await truncate(disk, bytes);
      artifactDisk.resolve(disk);
      return { moveTo: (path) => rename(disk, path) };
    },
    connection: {
      ...{ start: notThere, forwardIn: notThere, closed: gone.promise },
      [Symbol.asyncDispose]: async () => undefined,
    },
    egress: {
      lease(options) {
        onDestination = options.onDestination;
        networks.push(options.network);
      },
      ...{ accept: notThere, destinations: () => destinations, [Symbol.dispose]: () => undefined },
      lastRefusal: () => null,
    },
    ...{ capabilities, stepNetwork: 'vm', entry: { ...simulatedEntry, name: vm.entry }, memoryMiB: 2048 },
    program: {
      send(input, signal) {
        const [stdout, stderr] = [new PassThrough(), new PassThrough()];
        const exit = Promise.withResolvers<number>();
        exit.promise.catch(() => undefined);
        void Promise.resolve(
          script({
            signal,
            connect,
            ...{ words: wordsOf(input), input: input ?? Buffer.alloc(0) },
            log: (text) => void stderr.write(text),
            say: (line) => void stdout.write(`${JSON.stringify(line)}\n`),
            lose: () => gone.resolve('it was killed'),
            async writeArtifact(bytes) {
              await using file = await open(await artifactDisk.promise, 'r+');
              await file.write(bytes, 0, bytes.length, 0);
            },
            end({ exitCode = 0, artifactBytes = 0, ref, imageDigest } = {}) {
              const metadata = imageDigest === undefined ? null : { 'containerimage.digest': imageDigest };
              const result = { exitCode, artifactBytes, artifactExitCode: 0, ref, metadata };
              stdout.end(`${JSON.stringify({ kiln: result })}\n`);
              stderr.end();
              exit.resolve(0);
            },
          }),
        );
        return {
          stdout: untilAbort(stdout, signal),
          stderr: untilAbort(stderr, signal),
          exitCode: raceAbort(exit.promise, signal),
        };
      },
    },
    async [Symbol.asyncDispose]() {
      gone.resolve('it was destroyed');
      if (plugging > 0) throw new Error('A disk is still on its way into the folder of this VM.');
      vm.onEnd();
    },
  };
}

/** Of the input of build.sh. */
function wordsOf(input: Buffer = Buffer.alloc(0)): string[] {
  const [, , , , ...rest] = input.toString().split('\n');
  return rest.join('\n').split('\0').slice(0, -1);
}

async function* untilAbort(stream: PassThrough, signal: AbortSignal): AsyncGenerator<Buffer> {
  const chunks = stream[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await raceAbort(chunks.next(), signal);
    if (done) return;
    yield value;
  }
}
