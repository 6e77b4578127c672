import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pins } from '../catalog/pins.ts';
import { binaryTools, ensureHostTools } from '../host/host-tools.ts';
import type { StepContext } from '../host/run-step.ts';
import { cachedStep } from './cached-step.ts';
import { runGoStep, toolchainPins } from './go-step.ts';
import type { ImageRequest } from './image-request.ts';

/** Files of the images/ folder that say how. */
export const binariesRecipe = ['build-binaries.sh', 'go-modules.sh'] as const;

const keyPins = [
  'BUILDKIT_VERSION',
  'BUILDKIT_REVISION',
  'BUILDKIT_MODULE_HASH',
  'RUNC_VERSION',
  'RUNC_COMMIT',
  'RUNC_MODULE_HASH',
  ...toolchainPins,
] as const satisfies readonly (keyof Pins)[];

type BinariesRequest = StepContext &
  Pick<ImageRequest, 'imagesDirectory' | 'cacheDirectory' | 'sharedCacheDirectory' | 'asRoot' | 'path'>;

/**
 * buildkitd, buildctl and runc, built from their Go modules.
 * @returns a folder whose `out` holds them.
 * @throws KilnError REQUIREMENT_MISSING, INFRA
 */
export async function ensureBinaries(request: BinariesRequest, pins: Pins): Promise<string> {
  const recipe = binariesRecipe.map((name) => join(request.imagesDirectory, name));
  const script = join(request.imagesDirectory, 'build-binaries.sh');
  return cachedStep(
    {
      name: 'binaries',
      what: `buildkit ${pins.BUILDKIT_VERSION}, runc ${pins.RUNC_VERSION} from their Go modules`,
      inputs: [
        ...(await Promise.all(recipe.map((file) => readFile(file)))),
        ...keyPins.map((name) => pins[name]),
      ],
      async make(directory) {
        await ensureHostTools(binaryTools, request);
        const args = [join(directory, 'out')];
        await runGoStep({ name: 'binaries', script, args, pins, directory }, request);
      },
    },
    request,
  );
}
