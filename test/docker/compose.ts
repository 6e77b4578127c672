import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { findEntry, listArchive } from '../../src/catalog/catalog.ts';
import { ensureBinaries } from '../../src/images/binaries.ts';
import { startBuilder } from '../../src/images/builder.ts';
import { startDockerEngine, type TestEngine } from '../docker-engine.ts';
import { installTools } from '../install-tools.ts';
import { installDockerPlugins } from './plugins.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');
const cacheDirectory = '/var/cache/kiln';
const imagesDirectory = join(root, 'images');
const path = process.env['PATH'] ?? '';
const { signal } = new AbortController();
/** What steps of making images on this machine are given. */
const stepContext = {
  ...{
    cacheDirectory,
    sharedCacheDirectory: null,
    logDirectory: `${cacheDirectory}/logs`,
    signal,
    path,
    imagesDirectory,
    asRoot: true,
  },
  progress: (line: string) => console.log(line),
};

/** Docker as its users have it: an engine, the client with buildx and compose, and a BuildKit of today. */
export type Docker = AsyncDisposable & {
  readonly engine: TestEngine;
  /** A folder that goes with it. */
  readonly directory: string;
  /** Any program, with the client's environment: what it prints. */
  run(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
};

/** @param options.builder Whether it builds: the engine of Debian has a BuildKit that is too old for named contexts. */
export async function startDocker({ builder }: { builder: boolean }): Promise<Docker> {
  await using undo = new AsyncDisposableStack();
  const engine = undo.use(await startDockerEngine());
  const directory = await mkdtemp(join(tmpdir(), 'kiln-compose-'));
  undo.defer(() => rm(directory, { recursive: true }));
  await installDockerPlugins(join(directory, 'client'));
  const client = { DOCKER_HOST: engine.host, DOCKER_CONFIG: join(directory, 'client') };
  const docker = async (
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> => {
    const options = { cwd: root, env: { ...process.env, ...client, ...env }, maxBuffer: 64 * 1024 * 1024 };
    return (await run(program, args, options)).stdout.trim();
  };
  if (builder) {
    // In a folder of its own: in the one that kilns share, each would wait for the other.
    const buildkit = undo.use(
      await startBuilder(await findBinaries(), { ...stepContext, cacheDirectory: directory }),
    );
    await docker('docker', ['buildx', 'create', '--use', '--driver=remote', '--name=kiln', buildkit.address]);
  }
  const resources = undo.move();
  return { engine, directory, run: docker, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Folder of buildkitd, buildctl and runc, made where they are not there. */
async function findBinaries(): Promise<string> {
  const { pins } = findEntry(await listArchive(imagesDirectory), 'buildkit-v0.20.2');
  return join(await ensureBinaries(stepContext, pins), 'out');
}

/** What docker.io/library/registry:2 is, from Debian's build of the same program, as the image `kiln-test/registry`. */
export async function importRegistryImage({ engine, directory }: Docker): Promise<string> {
  await installTools([{ find: 'docker-registry', package: 'docker-registry' }]);
  const tree = join(directory, 'registry');
  const config = '/etc/docker/registry/config.yml';
  const program = (await run('which', ['docker-registry'])).stdout.trim();
  const { stdout } = await run('ldd', [program]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library);
  for (const file of [program, ...libraries]) await cp(file, join(tree, file), { dereference: true });
  await mkdir(dirname(join(tree, config)), { recursive: true });
  await mkdir(join(tree, 'var/lib/registry'), { recursive: true });
  const storage = 'storage:\n  filesystem:\n    rootdirectory: /var/lib/registry';
  await writeFile(join(tree, config), `version: 0.1\n${storage}\nhttp:\n  addr: :5000\n`);
  const tar = join(directory, 'registry.tar');
  await run('tar', ['-cf', tar, '-C', tree, '.']);
  const entrypoint = JSON.stringify([program, 'serve', config]);
  await engine.docker('import', `--change=ENTRYPOINT ${entrypoint}`, tar, 'kiln-test/registry');
  return 'kiln-test/registry';
}
