import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSource } from '../../src/images/choose-source.ts';
import { pinned, resolvedDigest } from '../../src/images/looked-up.ts';
import { imageRequest } from './image-request.ts';

const digest = `sha256:${'1'.repeat(64)}`;
const there = { lookUp: async () => ({ digest }) };
const away = { lookUp: async () => ({ why: 'connection refused' }) };
const request = (sources: 'auto' | 'registry' | 'packages', lines: string[] = []) =>
  imageRequest({
    ...{ cacheDirectory: '/nowhere', imagesDirectory: '/nowhere', sources },
    progress: (line) => lines.push(line),
  });

test('a base of a registry is taken by the digest that it has there, which is told; where none answers, packages are (simulated builder)', async () => {
  const lines: string[] = [];
  assert.deepEqual(await chooseSource(request('auto', lines), 'ubuntu:24.04', there), {
    ...{ source: 'registry', digest },
  });
  assert.deepEqual(await chooseSource(request('auto', lines), 'ubuntu:24.04', away), { source: 'packages' });
  assert.deepEqual(lines, [
    `source  ubuntu:24.04, ${digest}`,
    'source  Debian packages, as no container registry answers (connection refused)',
  ]);
});

test('a registry that must be the source and is away is told; packages that must be are not looked for in one (simulated builder)', async () => {
  await assert.rejects(chooseSource(request('registry'), 'ubuntu:24.04', away), {
    code: 'INFRA',
    message: 'ubuntu:24.04 cannot be had from its registry: connection refused',
  });
  const never = { lookUp: () => assert.fail('it was asked') };
  assert.deepEqual(await chooseSource(request('packages'), 'ubuntu:24.04', never), { source: 'packages' });
});

test('the digest is read from the step that BuildKit names by it, and from nothing else', () => {
  const vertexes = (...names: string[]) => ({
    vertexes: names.map((name) => ({ name, digest: 'sha256:0' })),
  });
  assert.equal(resolvedDigest(vertexes('[internal] load', `[1/1] FROM r:5000/a/b:1@${digest}`)), digest);
  for (const other of [
    vertexes('[internal] load metadata for ubuntu:24.04'),
    vertexes('[1/1] FROM ubuntu:24.04'),
    vertexes(`[1/1] RUN echo FROM x@${digest}`),
    ...[{}, null, 'text', { vertexes: 'none' }],
  ])
    assert.equal(resolvedDigest(other), null, JSON.stringify(other));
});

test('a reference that has a digest keeps it', () => {
  assert.equal(pinned('ubuntu:24.04', digest), `ubuntu:24.04@${digest}`);
  assert.equal(pinned(`ubuntu@sha256:0`, digest), 'ubuntu@sha256:0');
});
