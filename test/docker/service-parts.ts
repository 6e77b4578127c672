import { cp, mkdir, readFile } from 'node:fs/promises';
import { basename, delimiter, dirname, join } from 'node:path';
import { parseConfig } from '../../src/config/config.ts';
import { runStep } from '../../src/host/run-step.ts';
import { prepareNetworkPrograms } from '../../src/host-setup.ts';
import { ensureQemuBase } from '../../src/images/base.ts';
import { cachedStep, readTree } from '../../src/images/cached-step.ts';

const root = join(import.meta.dirname, '../..');
const cacheDirectory = '/var/cache/kiln';
const { signal } = new AbortController();
const progress = (line: string): void => console.log(line);
const context = {
  ...{ cacheDirectory, sharedCacheDirectory: null, logDirectory: `${cacheDirectory}/logs`, signal, progress },
  ...{ asRoot: true, path: process.env['PATH'] ?? '' },
};

/**
 * Named contexts for the stages of deploy/Dockerfile that touch the internet: the same things, made on this machine without a
 * container registry, and kept from run to run.
 * @param directory Takes what is not kept.
 */
export async function makeServiceParts(
  directory: string,
): Promise<Record<'modules' | 'network' | 'qemu', string>> {
  const { path, digest } = await ensureQemuBase({ ...context, imagesDirectory: join(root, 'images') });
  return {
    modules: await ensureModules(),
    network: await copyNetworkPrograms(join(directory, 'network')),
    qemu: `oci-layout://${path}@${digest}`,
  };
}

const modulesRecipe = ['package.json', 'package-lock.json', 'deploy/pick-modules.sh'];

async function ensureModules(): Promise<string> {
  const generated = join(root, 'src/grpc/generated');
  const recipe = await Promise.all(modulesRecipe.map((file) => readFile(join(root, file))));
  return cachedStep(
    {
      name: 'service-modules',
      what: 'the libraries that kiln runs with',
      inputs: [...recipe, ...(await readTree(generated))],
      async make(made) {
        const out = join(made, 'out');
        const script = 'cd "$1" && sh deploy/pick-modules.sh "$2"';
        // The Node that runs this is the one that goes into the image.
        const env = { PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };
        await runStep('sh', ['-c', script, 'sh', root, out], { ...context, name: 'service-modules', env });
        await cp(generated, join(out, 'src/grpc/generated'), { recursive: true });
      },
    },
    context,
  );
}

async function copyNetworkPrograms(directory: string): Promise<string> {
  const made = dirname(
    await prepareNetworkPrograms(parseConfig({}, true), {
      path: process.env['PATH'] ?? '',
      progress,
      signal,
    }),
  );
  const copy = join(directory, cacheDirectory, 'network', basename(made));
  await mkdir(dirname(copy), { recursive: true });
  await cp(made, copy, { recursive: true });
  return directory;
}
