import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureHostTools, goTools } from '../../host/host-tools.ts';
import { cachedStep, readTree } from '../cached-step.ts';
import { runGoStep } from '../go-step.ts';
import type { HostImageRequest } from '../image-request.ts';

const sources = fileURLToPath(new URL('../../registry/program', import.meta.url));

/**
 * The program that speaks to container registries (src/registry/program), built where it is not there: a minute or two, once.
 * @returns its path
 * @throws KilnError REQUIREMENT_MISSING, INFRA
 */
export async function ensureRegistryProgram(request: HostImageRequest): Promise<string> {
  const script = join(request.imagesDirectory, 'build-registry.sh');
  const recipe = [script, join(request.imagesDirectory, 'go-modules.sh')];
  const directory = await cachedStep(
    {
      name: 'registry',
      what: 'the program that speaks to container registries',
      inputs: [...(await Promise.all(recipe.map((file) => readFile(file)))), ...(await readTree(sources))],
      async make(unfinished) {
        await ensureHostTools(goTools, request);
        const args = [join(unfinished, 'out'), sources];
        await runGoStep({ name: 'registry', script, args, directory: unfinished }, request);
      },
    },
    request,
  );
  return join(directory, 'out/registry');
}
