import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localAdmin } from '../../src/model/caller.ts';
import type { Operation } from '../../src/model/operation.ts';
import type { Operations } from '../../src/model/operations.ts';
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

/** Follows an operation to its end. */
export async function finish(operations: Operations, { id }: Operation): Promise<Operation> {
  for await (const _event of await operations.events(localAdmin, id, {
    offset: 0,
    follow: true,
    signal: AbortSignal.timeout(60_000),
  }));
  return operations.get(localAdmin, id);
}
