import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import { proxyUrl } from '../../src/buildkit/guest-files.ts';
import type { WarmVm } from '../../src/builds/warm-vm.ts';
import { parseSpec } from '../../src/model/spec.ts';
import type { Lease } from '../../src/pool/pool.ts';
import { capture } from '../../src/ssh/capture.ts';
import { build, startTestService, waitFor, waitUntilReady } from '../e2e/harness.ts';

/** `npm run bench [-- --json FILE]`: each figure beside its baseline, both measured in this run. */
type Row = {
  readonly what: string;
  readonly kiln: string;
  readonly baseline: string;
  readonly ratio: string;
};

const signal = new AbortController().signal;
const rounds = 5;
const rows: Row[] = [];

await using service = await startTestService();
await waitUntilReady(service);
await benchLease();
await benchBuild();
await benchMemory();
console.table(rows);
const json = process.argv.indexOf('--json');
const file = json < 0 ? undefined : process.argv[json + 1];
if (file !== undefined) await writeFile(file, `${JSON.stringify(rows, null, 2)}\n`);

/** A warm VM against a cold boot, whose time the guest itself tells: from the kernel's start until all units are up. */
async function benchLease(): Promise<void> {
  const leases: number[] = [];
  let bootMs = 0;
  for (let round = 0; round < rounds; round += 1) {
    await waitUntilWarm();
    const started = performance.now();
    await using lease = await service.pool.acquire(signal);
    leases.push(performance.now() - started);
    bootMs ||= await readBootMs(lease);
  }
  add('lease of a pristine VM (warm pool) : cold boot', median(leases), bootMs, 'ms');
}

async function readBootMs({ vm }: Lease<WarmVm>): Promise<number> {
  const text = await capture(vm.connection, 'systemctl show --property=FinishTimestampMonotonic --value', {
    signal,
  });
  return Number(text) / 1000;
}

/** A whole build through HTTP against the same buildctl line in a VM of the same kind, over a connection that is open. */
async function benchBuild(): Promise<void> {
  const files = { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' };
  const spec = parseSpec({});
  const words = buildctlArguments(spec, { dockerfileApart: false, proxy: proxyUrl })
    .filter((word) => !word.startsWith('--trace') && !word.startsWith('--metadata'))
    .map((word) => `'${word}'`);
  const script = `mkdir -p /var/lib/kiln/build/context && cd /var/lib/kiln/build/context && cat >Dockerfile && buildctl ${words.join(' ')} 2>&1`;
  const ours: number[] = [];
  const plain: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await waitUntilWarm();
    ours.push(await time(() => build(service, files)));
    await waitUntilWarm();
    await using lease = await service.pool.acquire(signal);
    plain.push(
      await time(() =>
        capture(lease.vm.connection, script, { input: Buffer.from(files.Dockerfile), signal }),
      ),
    );
  }
  add('trivial build through kiln : buildctl over an open ssh connection', median(ours), median(plain), 'ms');
}

async function benchMemory(): Promise<void> {
  await waitUntilWarm();
  await using lease = await service.pool.acquire(signal);
  const { stdout } = spawnSync('pgrep', ['-f', `kiln-[0-9a-f]+-${lease.vm.id}`], { encoding: 'utf8' });
  const rollup = await readFile(`/proc/${stdout.trim()}/smaps_rollup`, 'utf8');
  const privateKiB = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].reduce(
    (sum, [, kib]) => sum + Number(kib),
    0,
  );
  add('private memory of an idle clone : its nominal RAM', privateKiB / 1024, 2048, 'MiB');
}

function waitUntilWarm(): Promise<void> {
  return waitFor(
    async () => service.pool.status.warm >= 2 && service.pool.status.starting === 0,
    'two VMs are warm',
  );
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function add(what: string, ours: number, baseline: number, unit: string): void {
  rows.push({
    what,
    kiln: `${ours.toFixed(1)} ${unit}`,
    baseline: `${baseline.toFixed(1)} ${unit}`,
    ratio: (ours / baseline).toFixed(3),
  });
}
