import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startBuilder } from '../../src/images/builder.ts';

/** Programs that behave as far as this asks of them: the one runs, the other finds that it does. */
async function standIns(directory: string): Promise<string> {
  await writeFile(join(directory, 'buildkitd'), '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
  await writeFile(join(directory, 'buildctl'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  return directory;
}

test('one builder at a time: who wants another waits, and takes nothing away from it (stand-ins for buildkitd)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-builder-'));
  try {
    const bins = await standIns(directory);
    let saidToWait = (_line: string): void => undefined;
    const waits = new Promise<string>((resolve) => {
      saidToWait = resolve;
    });
    const context = {
      ...{ cacheDirectory: directory, logDirectory: join(directory, 'logs') },
      ...{ path: process.env['PATH'] ?? '', progress: saidToWait, signal: new AbortController().signal },
    };
    const builders = async (): Promise<string[]> =>
      (await readdir(directory)).filter((name) => name.startsWith('builder-'));

    const first = await startBuilder(bins, context);
    const folder = await builders();
    const second = startBuilder(bins, context);
    try {
      assert.match(await Promise.race([waits, second.then(() => 'it did not wait')]), /waiting/);
      assert.deepEqual(await builders(), folder);
    } finally {
      await first[Symbol.asyncDispose]();
      await (await second)[Symbol.asyncDispose]();
    }
    assert.deepEqual(await builders(), []);
  } finally {
    await rm(directory, { recursive: true });
  }
});
