import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOperations, type RunningOperations } from '../../src/operations/create-operations.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { type SimulatedHouse, simulateHouse } from './simulated-house.ts';

export type OpenedOperations = AsyncDisposable & {
  readonly operations: RunningOperations;
  readonly house: SimulatedHouse;
  readonly directory: string;
  readonly logger: ReturnType<typeof createMemoryLogger>;
};

/** The real operations on a folder of their own, over a simulated house. */
export async function openOperations(
  house: SimulatedHouse = simulateHouse(),
  parent = tmpdir(),
): Promise<OpenedOperations> {
  const directory = await mkdtemp(join(parent, 'kiln-operations-'));
  const logger = createMemoryLogger();
  const operations = createOperations({
    ...{ directory, house, fleet: await fleetOfOne(), logger: logger },
  });
  return {
    ...{ operations, house, directory, logger },
    async [Symbol.asyncDispose]() {
      await operations.close();
      await rm(directory, { recursive: true });
    },
  };
}
