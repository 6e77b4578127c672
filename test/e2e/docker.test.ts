import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startDockerEngine } from '../docker-engine.ts';
import { buildAndLoad } from './build-and-load.ts';
import { startForFile } from './harness.ts';

const { service } = await startForFile();

test('output=docker keeps a tar that a Docker engine loads and runs', async () => {
  await using engine = await startDockerEngine();
  await buildAndLoad(service, engine);
  assert.equal(
    await engine.docker('run', '--rm', '--network=none', 'example.com/kiln/test:1'),
    'hello from kiln',
  );
});
