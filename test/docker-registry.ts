import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installTools } from './install-tools.ts';
import { tied } from './tied.ts';

const startDeadlineMs = 60_000;

export type DockerRegistry = AsyncDisposable & {
  /** Such as `127.0.0.1:40123`. */
  readonly host: string;
  readonly url: string;
  /** Its folder, which goes with it. */
  readonly directory: string;
};

/**
 * Debian's own registry on loopback. It has no referrers API.
 * @param options.settings Further lines of its config.yml; `DIRECTORY` stands for its folder.
 * @param options.prepare Puts files there before it starts.
 */
export async function startDockerRegistry(
  options: { settings?: string; prepare?: (directory: string) => Promise<void> } = {},
): Promise<DockerRegistry> {
  await installTools([{ find: 'docker-registry', package: 'docker-registry' }]);
  const directory = await mkdtemp(join(tmpdir(), 'kiln-registry-'));
  await options.prepare?.(directory);
  const host = `127.0.0.1:${await freePort()}`;
  const settings = (options.settings ?? '').replaceAll('DIRECTORY', directory);
  const storage = `storage:\n  filesystem:\n    rootdirectory: ${directory}/data\n`;
  const config = join(directory, 'config.yml');
  await writeFile(config, `version: 0.1\n${storage}http:\n  addr: ${host}\n${settings}`);
  const child = spawn(...tied('docker-registry', ['serve', config]), { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const url = `http://${host}`;
  const deadline = performance.now() + startDeadlineMs;
  while (!(await answers(`${url}/v2/`))) {
    if (performance.now() > deadline) throw new Error('The registry does not answer.');
    await sleep(50);
  }
  return {
    ...{ host, url, directory },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true });
    },
  };
}

/** One that asks for an account answers 401. */
async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address ? address.port : 0;
}
