import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startRegistry, startTestService, waitUntilReady } from '../e2e/harness.ts';
import { benchBuild, benchLog } from './build.ts';
import { benchContext, benchUpload } from './context.ts';
import { benchLateness } from './lateness.ts';
import { benchLease } from './lease.ts';
import type { Row } from './measure.ts';
import { benchMemory } from './memory.ts';

/** `npm run bench [-- --json FILE]`: each figure beside its baseline, both measured in this run. */
const { values } = parseArgs({ options: { json: { type: 'string' }, only: { type: 'string' } } });
const benches = {
  lease: benchLease,
  build: benchBuild,
  context: benchContext,
  memory: benchMemory,
  upload: benchUpload,
  log: benchLog,
  lateness: benchLateness,
};

await using registry = await startRegistry();
await using service = await startTestService({ mirror: registry.url });
await waitUntilReady(service);
const rows: Row[] = [];
for (const [name, bench] of Object.entries(benches)) {
  if (values.only !== undefined && values.only !== name) continue;
  console.log(`measuring  ${name} …`);
  for (const row of await bench(service)) {
    rows.push(row);
    console.log(`  ${row.what}: ${row.ratio.toPrecision(3)} ${row.goal && `(goal ${row.goal})`}`);
  }
}
const rounded = (value: number): number => Number(value.toPrecision(4));
console.table(
  rows.map(({ what, kiln, baseline, unit, ratio, goal }) => ({
    ...{ what, kiln: rounded(kiln), baseline: rounded(baseline), unit, ratio: rounded(ratio), goal },
  })),
);
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 2)}\n`);
