import { existsSync } from 'node:fs';
import { chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/config.ts';
import { prepareDqdImage, prepareHost } from '../../src/host-setup.ts';
import { freePort } from '../docker-registry.ts';
import { startRegistry } from '../e2e/harness.ts';
import { type Docker, importRegistryImage, startDocker } from './compose.ts';
import { makeServiceParts } from './service-parts.ts';

/** The user that the service image runs as. */
const nobody = 10_001;

/** kiln as `docker compose up` gives it: the real files, Dockerfile, engine and client. */
export type Project = AsyncDisposable & {
  readonly docker: Docker;
  /** Where it serves HTTP. */
  readonly url: string;
  /** `host:port` of the mirror. */
  readonly mirror: string;
  compose(...words: readonly string[]): Promise<string>;
};

/**
 * Builds and starts one service of docker-compose.yml and what it depends on, on ports of its own; what a registry would serve is
 * made here.
 * @param options.data Keeps its template from run to run.
 */
export async function startProject({
  service,
  data,
}: {
  service: 'kiln' | 'kiln-docker';
  data: string;
}): Promise<Project> {
  await using undo = new AsyncDisposableStack();
  const docker = undo.use(await startDocker({ builder: true }));
  const registry = undo.use(await startRegistry());
  await loadVmImage(docker);
  const [http, grpc, mirror] = [await freePort(), await freePort(), `127.0.0.1:${await freePort()}`];
  const listen = { http: `127.0.0.1:${http}`, grpc: `127.0.0.1:${grpc}` };
  const env = {
    MIRROR_IMAGE: await importRegistryImage(docker),
    MIRROR_LISTEN: mirror,
    MIRROR_OF: registry.url,
    ...{ DOCKER_DATA: data, DOCKER_LISTEN: listen.http, DOCKER_GRPC_LISTEN: listen.grpc },
    ...{ DOCKER_SOCKET: docker.engine.host.replace('unix://', ''), DOCKER_GID: '0' },
  };
  const settings = { KILN_LISTEN: listen.http, KILN_GRPC_LISTEN: listen.grpc };
  const small = { KILN_POOL_SIZE: '1', KILN_POOL_FROZEN: '0' };
  const ours = join(docker.directory, 'test.yml');
  const contexts = await makeServiceParts(docker.directory);
  await prepareData(data);
  const override = {
    services: {
      [service]: { environment: { ...settings, ...small }, build: { additional_contexts: contexts } },
    },
    volumes: { data: { driver_opts: { type: 'none', o: 'bind', device: data } } },
  };
  await writeFile(ours, JSON.stringify(override));
  const kvm = existsSync('/dev/kvm') ? ['docker-compose.kvm.yml'] : [];
  const files = ['docker-compose.yml', ...kvm, ours].flatMap((file) => ['-f', file]);
  const compose = (...words: readonly string[]): Promise<string> =>
    docker.run('docker', ['compose', '-p', 'kiln-test', ...files, ...words], env);
  // Before the engine, which would leave what still runs.
  undo.defer(async () => void (await compose('--profile=docker', 'down', '-v', '--timeout=20')));
  const started = performance.now();
  await compose('build', service);
  console.log(`built after ${Math.round(performance.now() - started)} ms`);
  try {
    await compose('up', '-d', '--wait', service);
  } catch (error) {
    console.log(await compose('logs', '--tail=30'));
    throw error;
  }
  console.log(`up after ${Math.round(performance.now() - started)} ms`);
  const resources = undo.move();
  return {
    ...{ docker, compose, mirror, url: `http://${listen.http}` },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** The dqd image, by the name that the compose files and the Makefile give it. */
async function loadVmImage({ engine }: Docker): Promise<void> {
  const config = parseConfig({}, true);
  const progress = (line: string): void => console.log(line);
  const options = { path: process.env['PATH'] ?? '', progress, signal: AbortSignal.timeout(1_200_000) };
  const { made } = await prepareHost(config, { ...options, sealsDirectory: null });
  const { reference, tar } = await prepareDqdImage(config, options, made[0]);
  await engine.docker('load', '-q', '-i', tar);
  await engine.docker('tag', reference, 'kiln/archive:buildkit-v0.20.2_v0.1.0');
}

/** Without the tokens of a test that was interrupted. */
async function prepareData(data: string): Promise<void> {
  await rm(join(data, 'tokens'), { recursive: true, force: true });
  await mkdir(data, { recursive: true });
  await chown(data, nobody, nobody);
}
