import { join } from 'node:path';
import type { Pins } from '../catalog/pins.ts';
import { runStep, type StepContext } from '../host/run-step.ts';
import { removeQuietly } from '../lib/files.ts';
import { runTool } from '../lib/process/run-tool.ts';
import type { ImageRequest } from './image-request.ts';

/** What `go-modules.sh` reads of the pins. */
export const toolchainPins = [
  'GO_TOOLCHAIN',
  'GO_TOOLCHAIN_HASH_AMD64',
] as const satisfies readonly (keyof Pins)[];

type GoStep = {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  /** What the script reads of an entry, where it makes something of one. */
  readonly pins?: Pins;
  readonly directory: string;
};

/**
 * Runs a script that builds programs from Go modules.
 * @param step.directory The unfinished result of the step; temporary files lie in it, too.
 */
export async function runGoStep(
  { name, script, args, pins, directory }: GoStep,
  request: StepContext & Pick<ImageRequest, 'cacheDirectory'>,
): Promise<void> {
  // Outside the step's folder, so that an interrupted build goes on where it was.
  const caches = join(request.cacheDirectory, 'go', name);
  const env = {
    ...pins,
    GOMODCACHE: join(caches, 'modules'),
    GOCACHE: join(caches, 'build'),
    TMPDIR: directory,
  };
  await runStep('sh', [script, ...args], { ...request, name, env });
  // A gigabyte that served once; modules are read-only.
  await runTool('chmod', ['-R', 'u+w', caches], request.signal);
  await removeQuietly(caches);
}
