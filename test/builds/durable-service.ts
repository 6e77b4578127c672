import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArtifactStore, openArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { createBuilds, type RunningBuilds } from '../../src/builds/create-builds.ts';
import { recoverBuilds } from '../../src/builds/recover-builds.ts';
import { Retention } from '../../src/builds/retention.ts';
import type { WarmVm } from '../../src/guest/warm-vm.ts';
import { DiskBudget } from '../../src/host/disk-budget.ts';
import type { Observer } from '../../src/model/observer.ts';
import type { ReadDigest } from '../../src/registry/read-digest.ts';
import type { Scheduler } from '../../src/scheduler/scheduler.ts';
import { type BuildStore, openBuildStore } from '../../src/store/build-store.ts';
import { fleetOfOne } from '../fleet/fleet-of-one.ts';
import { asleep } from '../scheduler/asleep.ts';
import { scheduleOne } from '../scheduler/schedule-one.ts';
import { readiness } from '../simulated-service.ts';
import { timeouts } from './data-folder.ts';
import { createMemoryLogger } from './memory-logger.ts';
import { type Script, simulateVms } from './simulated-vms.ts';

export type DurableService = {
  readonly builds: RunningBuilds;
  readonly store: BuildStore;
  readonly scheduler: Scheduler<WarmVm>;
  readonly logger: ReturnType<typeof createMemoryLogger>;
  readonly buildsDirectory: string;
  readonly stagingDirectory: string;
  /** As by SIGTERM and the end of the grace period. */
  stop(): Promise<void>;
};

/**
 * The use-cases as a start of the service puts them together, on whatever an earlier one left in this folder; only the VMs are simulated.
 * @param script What the guest of each VM does.
 * @param keep In place of the artifact store's own.
 */
export async function startDurable(
  path: string,
  {
    script,
    vms: max = 2,
    limit = 1000,
    keep,
    readDigest = async () => null,
    observer,
  }: {
    script: Script;
    vms?: number;
    limit?: number;
    readDigest?: ReadDigest;
    keep?: (store: ArtifactStore) => ArtifactStore['keep'];
    observer?: Observer;
  },
): Promise<DurableService> {
  const logger = createMemoryLogger();
  const store = await openBuildStore(path);
  const [buildsDirectory, stagingDirectory, vmsDirectory] = ['builds', 'staging', 'vms'].map((name) =>
    join(path, name),
  ) as [string, string, string];
  for (const folder of [buildsDirectory, stagingDirectory, vmsDirectory])
    await mkdir(folder, { recursive: true });
  const opened = await openArtifactStore(join(path, 'artifacts'));
  const artifacts = { ...opened, ...(keep && { keep: keep(opened) }) };
  const limits = { maxBuilds: 10_000, maxBytes: 1e12, maxRecords: 10_000 };
  const room = { minFreeBytes: 0, buildRoomBytes: 0 };
  const retention = await Retention.open({ store, artifacts, buildsDirectory, logger, limits, ...room });
  const left = await recoverBuilds({
    store,
    buildsDirectory,
    retention,
    logger,
    ...(observer && { observer }),
  });
  const vms = await simulateVms(Array<Script>(10_000).fill(script), vmsDirectory);
  const line = scheduleOne({
    ...{ size: 0, frozen: 0, max, limit, create: asleep(() => vms.create()), logger },
    ...(observer && { onLease: observer.leased }),
  });
  const builds = createBuilds({
    ...{ store, artifacts, retention, logger, buildsDirectory, stagingDirectory },
    ...{ scheduler: line.scheduler, fleet: await fleetOfOne(), minFreeBytes: 0 },
    ...{ maxArtifactBytes: 1e6, maxLogBytes: 1e6, timeouts, vmDiskBytes: 1 },
    readDigest,
    disk: new DiskBudget({ directory: path, keepFreeBytes: 0 }),
    policy: { customFrontends: true },
    builtinFrontend: false,
    limits: { maxBytes: 1e6, maxEntries: 100, maxUploadBytes: 1e6 },
    readiness: () => readiness(true),
    ...(observer && { observer }),
  });
  await builds.resume(left);
  return {
    ...{ builds, store, buildsDirectory, stagingDirectory, scheduler: line.scheduler, logger },
    async stop() {
      builds.abort();
      await builds.drain();
      await line.close();
      await vms[Symbol.asyncDispose]();
      await retention[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}
