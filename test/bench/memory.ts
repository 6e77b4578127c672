import { readFile } from 'node:fs/promises';
import { ensureInstallationId } from '../../src/host/data-folders.ts';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { processName } from '../../src/vm/template.ts';
import { testData } from '../e2e/harness.ts';
import { type Bench, type Row, waitUntilWarm } from './measure.ts';

const signal = new AbortController().signal;
const nominalMiB = 2048;

/** What a clone takes from the host for itself alone; the rest it shares with its template. */
export const benchMemory: Bench = async (service) => {
  await waitUntilWarm(service);
  await using lease = await service.pool.acquire(signal);
  await waitUntilWarm(service, { leased: 1 });
  const all = await listPrivateMiB();
  return [
    rowOf('an idle clone', all.get(lease.vm.id) ?? Number.NaN),
    // Of all that live: a clone that runs takes more than one that never did.
    rowOf('a frozen clone', Math.min(...all.values())),
  ];
};

function rowOf(clone: string, kiln: number): Row {
  const what = `private memory of ${clone} : its nominal RAM`;
  return { what, kiln, baseline: nominalMiB, unit: 'MiB', ratio: kiln / nominalMiB, goal: ['kiln', '≤', 70] };
}

/** Of each VM, by its id. */
async function listPrivateMiB(): Promise<Map<string, number>> {
  const prefix = processName(await ensureInstallationId(testData));
  const lines = (await runTool('pgrep', ['-fa', prefix], signal)).trim().split('\n');
  const entries = lines.map(async (line): Promise<[string, number]> => {
    const [, pid = '', id = ''] = new RegExp(`^(\\d+) .*-name ${prefix}(\\S+)`).exec(line) ?? [];
    return [id, await privateMiB(pid)];
  });
  return new Map(await Promise.all(entries));
}

async function privateMiB(pid: string): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const sizes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm)].map(([, kib]) => Number(kib));
  return sizes.reduce((sum, kib) => sum + kib, 0) / 1024;
}
