import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ensureHostTools } from '../../src/host/host-tools.ts';
import { cachedStep, contentKey } from '../../src/images/cached-step.ts';

let cacheDirectory: string;
const signal = new AbortController().signal;
const quiet = { logDirectory: tmpdir(), progress: () => undefined, signal };

before(async () => {
  cacheDirectory = await mkdtemp(join(tmpdir(), 'kiln-steps-'));
});
after(() => rm(cacheDirectory, { recursive: true }));

test('a step is made once for the same inputs, again for others, and an interrupted one leaves nothing', async () => {
  let made = 0;
  const run = (input: string, fail = false): Promise<string> =>
    cachedStep(
      {
        name: 'step',
        what: 'a file',
        inputs: [input],
        make: async (directory) => {
          made += 1;
          await writeFile(join(directory, 'out'), input);
          if (fail) throw new Error('interrupted');
        },
      },
      { ...quiet, cacheDirectory, sharedCacheDirectory: null },
    );
  await assert.rejects(run('a', true), /interrupted/);
  assert.deepEqual(await readdir(join(cacheDirectory, 'step')), []);
  const first = await run('a');
  assert.equal(await run('a'), first);
  assert.equal(made, 2);
  assert.notEqual(await run('b'), first);
  assert.equal(await readFile(join(first, 'out'), 'utf8'), 'a');
});

test('keys tell inputs apart that would join to the same text', () => {
  assert.notEqual(contentKey(['ab', 'c']), contentKey(['a', 'bc']));
});

test('who is not root is told the one command that gets what is missing', async () => {
  const tools = [{ find: 'no-such-tool', package: 'some-package' }];
  await assert.rejects(ensureHostTools(tools, { ...quiet, asRoot: false, path: '/usr/bin' }), {
    code: 'REQUIREMENT_MISSING',
    message: /sudo apt-get install -y --no-install-recommends some-package$/,
  });
});
