import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

/** What `npm test` counts, for files of every kind. */
const cases = [
  { kind: 'a test that passes', body: "test('it passes', () => {});", passed: 1, failed: 0 },
  {
    kind: 'a test that fails',
    body: "test('it fails', () => { throw new Error('why'); });",
    passed: 0,
    failed: 1,
  },
  { kind: 'a subtest that fails', body: "test('a', (t) => t.test('b', () => { throw new Error('why'); }));" },
  { kind: 'a test that is skipped', body: "test.skip('it is skipped', () => {});" },
  { kind: 'a test still to do', body: "test.todo('it is to do');" },
  { kind: 'no test at all', body: '' },
  { kind: 'an error at import', body: "throw new Error('why');" },
  {
    kind: 'an error after its test',
    body: "test('a', () => { setTimeout(() => { throw new Error('why'); }, 5); });",
  },
  {
    kind: 'a test that never ends',
    body: "setInterval(() => {}, 60_000); test('a', () => new Promise(() => {}));",
  },
];

for (const { kind, body, passed, failed } of cases) {
  test(`a file with ${kind} counts as ${failed === 0 ? 'passed' : 'failed'}`, async () => {
    const totals = await countTests(`import { test } from 'node:test';\n${body}`);
    if (passed !== undefined) assert.equal(totals.passed, passed);
    if (failed === undefined) assert.notEqual(totals.failed, 0);
    else assert.equal(totals.failed, failed);
  });
}

test('each test is told with its time as it ends', async () => {
  const { told } = await countTests(
    "import { test } from 'node:test';\ntest('it passes', () => {});\ntest('it fails', () => { throw new Error('why'); });",
  );
  assert.deepEqual(
    told.map((line) => line.replace(/[0-9.]+ s$/, 'some s')),
    ['ok  it passes  some s', 'FAIL  it fails  some s'],
  );
});

async function countTests(source: string): Promise<{ passed: number; failed: number; told: string[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-run-test-file-'));
  try {
    const file = join(directory, 'a.test.ts');
    await writeFile(file, source);
    const script = join(import.meta.dirname, '../../scripts/run-test-file.ts');
    const program = `
      import { runTestFile } from ${JSON.stringify(script)};
      const told = [];
      const options = { timeoutMs: 2_000, signal: new AbortController().signal, onTest: (line) => told.push(line) };
      const { passed, failed } = await runTestFile(${JSON.stringify(file)}, options);
      console.log(JSON.stringify({ passed, failed, told }));`;
    // Without NODE_TEST_CONTEXT: with it the inner run would report to the outer one and count nothing itself.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const main = join(directory, 'main.ts');
    await writeFile(main, program);
    const { stdout } = await promisify(execFile)(process.execPath, [main], { env });
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as {
      passed: number;
      failed: number;
      told: string[];
    };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
