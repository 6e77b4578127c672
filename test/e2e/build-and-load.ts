import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestEngine } from '../docker-engine.ts';
import { build, curl, type TestService } from './harness.ts';

/** Builds an image with a file of its context, named example.com/kiln/test:1, and lets the engine load it, as a user does. */
export async function buildAndLoad(service: TestService, engine: TestEngine): Promise<void> {
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
}
