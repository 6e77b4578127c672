import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startDockerEngine } from '../docker-engine.ts';
import { build, curl, startForFile } from './harness.ts';

const { service } = await startForFile();

test('output=docker keeps a tar that a Docker engine loads and runs', async () => {
  await using engine = await startDockerEngine();
  const files = { Dockerfile: 'FROM busybox\nCOPY a /\nCMD ["cat", "/a"]\n', a: 'hello from kiln\n' };
  const { exit, body, id } = await build(service, files, 'output=docker', 'tag=example.com/kiln/test:1');
  assert.equal(exit, 0, body);
  const tar = join(tmpdir(), `kiln-${id}.tar`);
  try {
    assert.equal((await curl('-o', tar, `${service.httpUrl}/v1/builds/${id}/artifact`)).exit, 0);
    assert.equal(await engine.docker('load', '-i', tar), 'Loaded image: example.com/kiln/test:1');
  } finally {
    await rm(tar, { force: true });
  }
  assert.equal(
    await engine.docker('run', '--rm', '--network=none', 'example.com/kiln/test:1'),
    'hello from kiln',
  );
});
