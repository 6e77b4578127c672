import { mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureHostTools, goTools } from '../../src/host/host-tools.ts';
import { cachedStep } from '../../src/images/cached-step.ts';
import { runGoStep } from '../../src/images/go-step.ts';

const cacheDirectory = '/var/cache/kiln';
const script = join(import.meta.dirname, 'build-plugins.sh');
const name = 'docker-plugins';
const { signal } = new AbortController();
const context = {
  ...{ cacheDirectory, sharedCacheDirectory: null, logDirectory: `${cacheDirectory}/logs`, signal },
  progress: (line: string) => console.log(line),
};

/**
 * The real compose and buildx, built from their Go modules and kept, as plugins of the docker client.
 * @param config Folder that $DOCKER_CONFIG shall name.
 */
export async function installDockerPlugins(config: string): Promise<void> {
  const folder = join(config, 'cli-plugins');
  await mkdir(folder, { recursive: true });
  const made = join(await ensurePlugins(), 'out');
  for (const plugin of ['docker-compose', 'docker-buildx'])
    await symlink(join(made, plugin), join(folder, plugin));
}

async function ensurePlugins(): Promise<string> {
  const modules = join(import.meta.dirname, '../../images/go-modules.sh');
  return cachedStep(
    {
      name,
      what: 'docker compose and buildx from their Go modules',
      inputs: await Promise.all([script, modules].map((file) => readFile(file))),
      async make(directory) {
        await ensureHostTools(goTools, { ...context, asRoot: true, path: process.env['PATH'] ?? '' });
        await runGoStep({ name, script, args: [join(directory, 'out')], directory }, context);
      },
    },
    context,
  );
}
