import { createHttpServer } from '../../src/http/server.ts';
import { localAdmin } from '../../src/model/caller.ts';
import type { Observer } from '../../src/model/observer.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { startDurable } from '../builds/durable-service.ts';
import type { Script } from '../builds/simulated-vms.ts';
import { waitFor } from '../http/harness.ts';
import { openOperations } from '../operations/open-operations.ts';
import { createFolder } from '../store/harness.ts';

export type MeteredService = AsyncDisposable & {
  readonly url: string;
  /** Builds once, to its end. */
  build(): Promise<void>;
};

const { signal } = new AbortController();

/** The use-cases with their metrics behind the real HTTP server; only VMs are simulated, and operations have a house of their own. */
export async function startMetered(script: Script): Promise<MeteredService> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(await createFolder());
  const metrics = createMetrics();
  const ended = new Set<string>();
  const observer: Observer = {
    ...metrics.observer,
    buildEnded(record) {
      metrics.observer.buildEnded(record);
      ended.add(record.id);
    },
  };
  const { builds, scheduler, stop } = await startDurable(folder.path, { script, observer });
  undo.defer(stop);
  const opened = undo.use(await openOperations());
  const server = createHttpServer({
    ...{ builds, operations: opened.operations, authenticate: async () => localAdmin, metrics },
    settings: { hosts: [], uploadMaxBytes: 1e6 },
    logger: { info() {}, warn() {}, error() {} },
  });
  undo.defer(() => server.close(0));
  const { url } = await server.listen({ host: '127.0.0.1', port: 0 });
  metrics.show({ version: '1.2.3', accelerator: 'tcg', maxVms: 2, queueLimit: 1000 }, () => ({
    ...{ ready: true, pools: scheduler.status, waits: scheduler.waits, operationsRunning: 0 },
  }));
  const resources = undo.move();
  return {
    url,
    async build() {
      const request = { spec: parseSpec({}), context: null, dockerfile: Buffer.from('FROM scratch\n') };
      const { id } = await builds.start(localAdmin, request);
      for await (const _event of await builds.events(localAdmin, id, { offset: 0, follow: true, signal }));
      await waitFor(() => ended.has(id), 'its end is told');
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
