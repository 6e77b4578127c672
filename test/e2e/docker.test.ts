import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { installTools } from '../install-tools.ts';
import { tied } from '../tied.ts';
import { build, curl, startForFile, waitFor } from './harness.ts';

const run = promisify(execFile);
const { service } = await startForFile();

/** A real Docker engine of its own: another socket, other folders, no network, so that it disturbs no other. */
async function startDocker(): Promise<AsyncDisposable & { docker: (...args: string[]) => Promise<string> }> {
  await installTools([
    { find: 'dockerd', package: 'docker.io' },
    { find: 'docker', package: 'docker.io' },
  ]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-docker-'));
  const host = `unix://${directory}/docker.sock`;
  const folders = [
    `--data-root=${directory}/data`,
    `--exec-root=${directory}/run`,
    `--pidfile=${directory}/pid`,
  ];
  const network = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  const args = ['--host', host, ...folders, ...network, '--storage-driver=vfs'];
  // It has a containerd to end.
  const child = spawn(...tied('dockerd', args, { signal: 'TERM' }), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const docker = async (...args: string[]): Promise<string> =>
    (await run('docker', ['--host', host, ...args])).stdout.trim();
  const up = (): Promise<boolean> =>
    docker('info').then(
      () => true,
      () => false,
    );
  await waitFor(up, 'the Docker engine answers', 60_000);
  return {
    docker,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

test('output=docker keeps a tar that a Docker engine loads and runs', async () => {
  await using engine = await startDocker();
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
