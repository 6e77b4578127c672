import { readFile } from 'node:fs/promises';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { type Bench, waitUntilWarm } from './measure.ts';

const signal = new AbortController().signal;
const nominalMiB = 2048;

/** What an idle clone takes from the host for itself alone; the rest it shares with its template. */
export const benchMemory: Bench = async (service) => {
  await waitUntilWarm(service);
  await using lease = await service.pool.acquire(signal);
  const pid = (await runTool('pgrep', ['-f', `kiln-[0-9a-f]+-${lease.vm.id}`], signal)).trim();
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const sizes = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB/gm)].map(([, kib]) => Number(kib));
  const kiln = sizes.reduce((sum, kib) => sum + kib, 0) / 1024;
  const what = 'private memory of an idle clone : its nominal RAM';
  return [
    { what, kiln, baseline: nominalMiB, unit: 'MiB', ratio: kiln / nominalMiB, goal: ['kiln', '≤', 70] },
  ];
};
