import { startTestService, type TestService, testData, waitUntilReady } from '../e2e/harness.ts';
import type { Surroundings } from './measure.ts';

export type OtherService = AsyncDisposable & {
  readonly service: TestService;
  readonly dataDirectory: string;
};

/** A second kiln, whose steps have the network of their VM; its data are its own, as each kiln has one kind of template. */
export async function startInVmNetwork({ registryUrl, env }: Surroundings): Promise<OtherService> {
  const dataDirectory = `${testData}-vm-network`;
  const service = await startTestService({
    mirror: registryUrl,
    env: { ...env, KILN_DATA_DIR: dataDirectory, KILN_STEP_NETWORK: 'vm' },
  });
  await waitUntilReady(service);
  return { service, dataDirectory, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}
