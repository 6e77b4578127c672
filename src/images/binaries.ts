import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pins } from '../catalog/pins.ts';
import { runStep } from '../host/run-step.ts';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';
import { cachedStep } from './cached-step.ts';
import type { ImageRequest } from './image-request.ts';

const keyPins = [
  'BUILDKIT_VERSION',
  'BUILDKIT_REVISION',
  'BUILDKIT_MODULE_HASH',
  'RUNC_VERSION',
  'RUNC_COMMIT',
  'RUNC_MODULE_HASH',
  'GO_TOOLCHAIN',
  'GO_TOOLCHAIN_HASH_AMD64',
] as const satisfies readonly (keyof Pins)[];

/** buildkitd, buildctl and runc, built from their Go modules. @returns a folder whose `out` holds them. */
export async function ensureBinaries(request: ImageRequest, pins: Pins): Promise<string> {
  const script = join(request.imagesDirectory, 'build-binaries.sh');
  return cachedStep(
    {
      name: 'binaries',
      what: `buildkit ${pins.BUILDKIT_VERSION}, runc ${pins.RUNC_VERSION} from their Go modules`,
      inputs: [await readFile(script), ...keyPins.map((name) => pins[name])],
      make: (directory) => makeBinaries({ request, pins, script }, directory),
    },
    request,
  );
}

async function makeBinaries(
  { request, pins, script }: { request: ImageRequest; pins: Pins; script: string },
  directory: string,
): Promise<void> {
  // Outside the step's folder, so that an interrupted build goes on where it was.
  const caches = join(request.cacheDirectory, 'go');
  const env = {
    ...pins,
    GOMODCACHE: join(caches, 'modules'),
    GOCACHE: join(caches, 'build'),
    TMPDIR: directory,
  };
  await runStep('sh', [script, join(directory, 'out')], { ...request, name: 'binaries', env });
  // A gigabyte that served once; modules are read-only.
  await runTool('chmod', ['-R', 'u+w', caches], request.signal);
  await removeQuietly(caches);
}
