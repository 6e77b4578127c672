import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { serve } from '../http/harness.ts';
import { installTools } from '../install-tools.ts';

const run = promisify(execFile);
let profile: string;

before(async () => {
  await installTools([{ find: 'chromium', package: 'chromium' }]);
  profile = await mkdtemp(join(tmpdir(), 'kiln-browser-'));
});
after(() => rm(profile, { recursive: true, force: true }));

/** The page as a real browser leaves it after running its scripts, under the service's own Content-Security-Policy. */
async function render(url: string): Promise<string> {
  const quiet = ['--no-first-run', '--disable-background-networking', '--disable-component-update'];
  const plain = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-sync'];
  const { stdout } = await run(
    'chromium',
    [...plain, ...quiet, `--user-data-dir=${profile}`, '--virtual-time-budget=20000', '--dump-dom', url],
    { maxBuffer: 64 * 1024 * 1024, timeout: 120_000 },
  );
  return stdout;
}

test('/docs shows every operation of the API in a browser, with nothing fetched from elsewhere', async () => {
  await using harness = await serve();
  const page = await render(`${harness.url}/docs`);
  const answer = await fetch(`${harness.url}/openapi.json`);
  const { paths } = (await answer.json()) as {
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { operationId }] of Object.entries(methods)) {
      const block = new RegExp(
        `class="opblock opblock-${method}" id="operations-(Builds|Matrices|Images|Service)-${operationId}"`,
      );
      assert.match(page, block, `${method} ${path}`);
    }
  }
  assert.match(page, /<button class="btn authorize/, 'where a token is entered');
  assert.doesNotMatch(page, /<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?\/\//);
});
