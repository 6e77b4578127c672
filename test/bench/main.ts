import { parseArgs } from 'node:util';
import { startRegistry, startTestService, waitUntilReady } from '../e2e/harness.ts';
import { startOrigin } from '../e2e/origin.ts';
import { benchBuild, benchLog } from './build.ts';
import { benchStepNetworks } from './cni.ts';
import { benchContext } from './context.ts';
import { benchFlatMemory } from './flat-memory.ts';
import { benchLateness } from './lateness.ts';
import { benchLease } from './lease.ts';
import type { Bench, Row } from './measure.ts';
import { benchMemory } from './memory.ts';
import { benchNetwork } from './network.ts';
import { printRow, report } from './report.ts';
import { benchUpload } from './upload.ts';

/** `npm run bench [-- --json FILE] [--only NAME]`: each figure beside its baseline, both measured in this run, and its goal. */
const { values } = parseArgs({ options: { json: { type: 'string' }, only: { type: 'string' } } });
const benches: Readonly<Record<string, Bench>> = {
  lease: benchLease,
  build: benchBuild,
  cni: benchStepNetworks,
  context: benchContext,
  network: benchNetwork,
  memory: async (...given) => [...(await benchMemory(...given)), ...(await benchFlatMemory(...given))],
  log: benchLog,
  lateness: benchLateness,
};
const isWanted = (name: string): boolean => values.only === undefined || values.only === name;

const rows: Row[] = [];
// First, and alone: no VM shall take processor time from it.
if (isWanted('upload')) await run('upload', benchUpload);
if (Object.keys(benches).some(isWanted)) await runInVms();
await report(rows, values.json);

async function runInVms(): Promise<void> {
  await using registry = await startRegistry();
  await using origin = await startOrigin();
  const env = { KILN_EGRESS_ALLOW: `host.kiln.internal:${origin.httpPort}` };
  const surroundings = { origin, registryUrl: registry.url, env };
  await using service = await startTestService({ mirror: registry.url, env });
  await waitUntilReady(service);
  for (const [name, bench] of Object.entries(benches))
    if (isWanted(name)) await run(name, () => bench(service, surroundings));
}

async function run(name: string, bench: () => Promise<readonly Row[]>): Promise<void> {
  console.log(`measuring  ${name} …`);
  for (const row of await bench()) {
    rows.push(row);
    printRow(row);
  }
}
