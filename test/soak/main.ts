import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { TestRun } from '../../scripts/test-run.ts';
import { subjects } from './subjects.ts';

/**
 * `npm run soak [-- --only NAME]`: what takes too long for `npm test`, one subject after the other. The last line is
 * `N passed, N failed`.
 */
const { only } = parseArgs({ options: { only: { type: 'string' } } }).values;
const chosen = Object.entries(subjects).filter(([name]) => only === undefined || only === name);
if (chosen.length === 0) {
  console.error(`There is no subject '${only}'; there are ${Object.keys(subjects).join(', ')}.`);
  process.exit(1);
}
if (process.getuid?.() !== 0) {
  console.error(
    'npm run soak needs root: it installs Debian packages, makes images, and starts servers and VMs.',
  );
  process.exit(1);
}

const testRun = new TestRun(join(import.meta.dirname, '../..'));
for (const [name, minutes] of chosen) {
  const files = [join(import.meta.dirname, `${name}.soak.ts`)];
  const group = { title: `soak: ${name}`, files, concurrency: 1, timeoutMs: minutes * 60_000 };
  await testRun.runGroup(group, (line) => console.log(`  ${line}`));
}
testRun.finish();
