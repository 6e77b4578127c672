import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureHostTools, goTools } from '../host/host-tools.ts';
import { cachedStep, readTree } from './cached-step.ts';
import { runGoStep } from './go-step.ts';
import type { HostImageRequest } from './image-request.ts';

/**
 * The programs that make the network of a VM: the relay, and the CNI plugins of its steps. They are no part of the VM image, which
 * is BuildKit's alone; kiln puts them into the template. They are the same for every entry.
 * @param relayDirectory The relay's sources.
 * @returns a folder whose `out` holds them.
 * @throws KilnError REQUIREMENT_MISSING, INFRA
 */
export async function ensureNetworkPrograms(
  request: HostImageRequest,
  relayDirectory: string,
): Promise<string> {
  const script = join(request.imagesDirectory, 'build-network.sh');
  const recipe = [script, join(request.imagesDirectory, 'go-modules.sh')];
  return cachedStep(
    {
      name: 'network',
      what: 'the relay and the CNI plugins from their Go modules',
      inputs: [
        ...(await Promise.all(recipe.map((file) => readFile(file)))),
        ...(await readTree(relayDirectory)),
      ],
      async make(directory) {
        await ensureHostTools(goTools, request);
        const args = [join(directory, 'out'), relayDirectory];
        await runGoStep({ name: 'network', script, args, directory }, request);
      },
    },
    request,
  );
}
