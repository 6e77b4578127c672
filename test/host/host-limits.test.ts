import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const file = new URL('../../src/host/host-limits.ts', import.meta.url).href;

test('open files are those of ulimit -n, memory that of this machine at most', async () => {
  const script = `const { readHostLimits } = await import(${JSON.stringify(file)}); console.log(JSON.stringify(await readHostLimits()))`;
  const command = 'ulimit -n 777 && exec "$0" --input-type=module --eval "$1"';
  const { stdout } = await run('sh', ['-c', command, process.execPath, script]);
  const { openFiles, memoryBytes } = JSON.parse(stdout);
  assert.equal(openFiles, 777);
  assert.ok(memoryBytes > 2 ** 28 && memoryBytes < 2 ** 50, String(memoryBytes));
});
