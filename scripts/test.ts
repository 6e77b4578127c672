import { spawn } from 'node:child_process';
import { glob } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { TestRun } from './test-run.ts';

/**
 * `npm test`: the check, then every test; `npm test -- test/context` only what lies under the paths named.
 * The last line is `N passed, N failed`, where the check counts as one, and so does making the VM image; exit status 1 if any
 * failed or no test ran.
 */
const root = dirname(import.meta.dirname);

/** These boot VMs, or build what is in them. They share one data folder, which only one kiln can use. */
const vmTests = ['test/e2e'];
/** These do so too, in folders of their own, or need what a VM image is made with. */
const ownVmTests = [
  'test/deploy/compose-files.test.ts',
  'test/e2e/compose.test.ts',
  'test/e2e/docker-driver.test.ts',
  'test/e2e/rebuild.test.ts',
  'test/e2e/small-disk.test.ts',
  'test/e2e/unprivileged.test.ts',
  'test/guest',
  'test/images/dqd.test.ts',
  'test/images/host-builder.test.ts',
  'test/images/pool-container.test.ts',
  'test/images/vm-image.test.ts',
];
const isAmong = (paths: readonly string[], file: string): boolean =>
  paths.some((path) => isUnder(file, join(root, path)));
const usesOwnVms = (file: string): boolean => isAmong(ownVmTests, file);
const usesVms = (file: string): boolean => isAmong(vmTests, file) && !usesOwnVms(file);

/** These speak to a registry, by a program that takes minutes to compile. */
const registryTests = [
  'test/evidence',
  'test/registry',
  'test/images/evidence.test.ts',
  'test/images/publish-images.test.ts',
];

/** They wait more than they work: begun first, as in the end nothing else would be left to do meanwhile. */
const longest = ['test/scripts/add-entry.test.ts', 'test/vm/accelerator.test.ts'];
const rank = (file: string): number => (longest.includes(relative(root, file)) ? 0 : 1);

const groups = [
  {
    ...{ title: 'test files without VMs', concurrency: 2, timeoutMs: 600_000, needsImage: false },
    holds: (file: string) => !usesVms(file) && !usesOwnVms(file),
  },
  {
    ...{
      title: 'test files with VMs, one at a time',
      concurrency: 1,
      timeoutMs: 1_800_000,
      needsImage: true,
    },
    holds: usesVms,
  },
  {
    ...{ title: 'test files with VMs of their own, two at a time', concurrency: 2 },
    ...{ timeoutMs: 1_800_000, needsImage: true },
    holds: usesOwnVms,
  },
];

const testRun = new TestRun(root);
const paths = process.argv.slice(2);
if (paths.length === 0 && process.getuid?.() !== 0) {
  console.error(
    'npm test needs root: it installs Debian packages, mounts, and starts servers and VMs. As you are: npm run check, npm test -- test/context test/http',
  );
  process.exit(1);
}
if (paths.length === 0)
  testRun.count(await runScript('scripts/check.ts', 'check: types, lint, format, layers, dead code, proto'));
const files = await findTests(paths);
if (files.some((file) => isAmong(registryTests, file)))
  testRun.count(
    await runScript('scripts/make-registry-program.ts', 'the registry program, unless it is there'),
  );
let isImageThere = false;
for (const { holds, needsImage, ...group } of groups) {
  const held = files.filter(holds);
  // Here, as minutes of compiling would count against the time of whichever file comes first.
  if (needsImage && !isImageThere && held.length > 0 && !testRun.signal.aborted) {
    testRun.count(await runScript('scripts/make-image.ts', 'the VM image, unless it is there'));
    isImageThere = true;
  }
  await testRun.runGroup({ ...group, files: held });
}
testRun.finish();

/** Its output is passed on; false where it fails. */
async function runScript(script: string, title: string): Promise<boolean> {
  console.log(`\n── ${title}`);
  const child = spawn(process.execPath, [join(root, script)], {
    stdio: ['ignore', 'inherit', 'inherit'],
    signal: testRun.signal,
  });
  return new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false));
    child.once('close', (status) => resolve(status === 0));
  });
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
