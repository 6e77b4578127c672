import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hashFile } from '../../src/lib/hash.ts';

const MiB = 1024 * 1024;
const { signal } = new AbortController();
let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kiln-hash-'));
});
after(() => rm(directory, { recursive: true }));

for (const bytes of [0, 1, MiB, MiB + 1, 3 * MiB]) {
  test(`the sha256 of a file of ${bytes} bytes`, async () => {
    const content = randomBytes(bytes);
    await writeFile(join(directory, 'file'), content);
    const expected = createHash('sha256').update(content).digest('hex');
    assert.equal(await hashFile(join(directory, 'file'), signal), expected);
  });
}

/** Processor time of this thread, in ms. */
async function timeOf(work: () => unknown): Promise<number> {
  const before = process.threadCpuUsage();
  await work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}

test('a large file takes little of the time of the thread that everybody shares', async (t) => {
  const [path, content] = [join(directory, 'large'), Buffer.alloc(256 * MiB, 1)];
  await writeFile(path, content);
  await hashFile(path, signal);
  const whole = await timeOf(() => createHash('sha256').update(content).digest());
  const ours = await timeOf(() => hashFile(path, signal));
  t.diagnostic(`${ours} of ${whole} ms`);
  assert.ok(ours < whole / 2, `${ours} of ${whole} ms`);
});

test('a hash that is not wanted any more ends with the reason; one of no file with what is wrong', async () => {
  const path = join(directory, 'file');
  await writeFile(path, 'x');
  await assert.rejects(hashFile(path, AbortSignal.abort(new Error('stopped'))), /^Error: stopped$/);
  await assert.rejects(hashFile(join(directory, 'none'), signal), { code: 'ENOENT' });
});
