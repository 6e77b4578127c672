import { spawn } from 'node:child_process';
import { glob } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { runTestFile, seconds } from './run-test-file.ts';

/**
 * `npm test`: the check, then every test; `npm test -- test/context` only what lies under the paths named.
 * The last line is `N passed, N failed`, where the check counts as one; exit status 1 if any failed or no test ran.
 */
const root = dirname(import.meta.dirname);

/** These boot VMs, or build what is in them: one file after the other, so that they do not fight for the processors. */
const vmTests = ['test/e2e', 'test/guest', 'test/images/vm-image.test.ts'];
const isVmTest = (file: string): boolean => vmTests.some((path) => isUnder(file, join(root, path)));

/** They wait more than they work: begun first, as in the end nothing else would be left to do meanwhile. */
const longest = ['test/scripts/add-entry.test.ts', 'test/vm/accelerator.test.ts'];
const rank = (file: string): number => (longest.includes(relative(root, file)) ? 0 : 1);

const groups = [
  { title: 'without VMs', concurrency: 2, timeoutMs: 120_000, holds: (file: string) => !isVmTest(file) },
  { title: 'with VMs, one at a time', concurrency: 1, timeoutMs: 1_200_000, holds: isVmTest },
];

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const times: { readonly name: string; readonly ms: number }[] = [];
let passed = 0;
let failed = 0;

const paths = process.argv.slice(2);
if (paths.length === 0 && process.getuid?.() !== 0) {
  console.error(
    'npm test needs root: it installs Debian packages, mounts, and starts servers and VMs. As you are: npm run check, npm test -- test/context test/http',
  );
  process.exit(1);
}
if (paths.length === 0) await runCheck();
const files = await findTests(paths);
for (const group of groups) await runGroup(group, files.filter(group.holds));
printTotals();

async function runCheck(): Promise<void> {
  console.log('── check: types, lint, format, layers, dead code, proto');
  const child = spawn(process.execPath, [join(root, 'scripts/check.ts')], {
    stdio: ['ignore', 'inherit', 'inherit'],
    signal: interrupted.signal,
  });
  const ok = await new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false));
    child.once('close', (status) => resolve(status === 0));
  });
  if (ok) passed += 1;
  else failed += 1;
}

async function findTests(named: readonly string[]): Promise<string[]> {
  const wanted = named.map((path) => resolve(path));
  const found: string[] = [];
  for await (const name of glob('test/**/*.test.ts', { cwd: root })) {
    const file = join(root, name);
    if (wanted.length === 0 || wanted.some((path) => isUnder(file, path))) found.push(file);
  }
  return found.sort().sort((a, b) => rank(a) - rank(b));
}

function isUnder(file: string, path: string): boolean {
  return file === path || file.startsWith(`${path}/`);
}

async function runGroup(group: (typeof groups)[number], chosen: readonly string[]): Promise<void> {
  if (chosen.length === 0) return;
  console.log(`\n── ${chosen.length} test files ${group.title}`);
  const waiting = [...chosen];
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file && !interrupted.signal.aborted; file = waiting.shift()) {
      await runFile(file, group.timeoutMs);
    }
  };
  await Promise.all(Array.from({ length: group.concurrency }, work));
}

async function runFile(file: string, timeoutMs: number): Promise<void> {
  const name = relative(root, file);
  const report = await runTestFile(file, { timeoutMs, signal: interrupted.signal });
  passed += report.passed;
  failed += report.failed;
  times.push({ name, ms: report.ms });
  const counts = `${report.passed} passed${report.failed > 0 ? `, ${report.failed} failed` : ''}`;
  console.log(`${report.failed > 0 ? 'FAIL' : 'ok  '}  ${name}  ${counts}  ${seconds(report.ms)}`);
  if (report.failed > 0) console.log(`\n${report.failures}`);
}

function printTotals(): void {
  const slowest = times.sort((a, b) => b.ms - a.ms).slice(0, 5);
  console.log(`\nslowest: ${slowest.map(({ name, ms }) => `${name} ${seconds(ms)}`).join(', ') || 'none'}`);
  if (interrupted.signal.aborted) console.log('interrupted');
  console.log(`${passed} passed, ${failed} failed`);
  const ranAll = times.length > 0 && !interrupted.signal.aborted;
  process.exitCode = failed === 0 && ranAll ? 0 : 1;
}
