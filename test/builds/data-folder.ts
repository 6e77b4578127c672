import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArtifactStore, openArtifactStore } from '../../src/artifacts/artifact-store.ts';
import { Retention, type RetentionOptions } from '../../src/builds/retention.ts';
import { type BuildStore, openBuildStore } from '../../src/store/build-store.ts';
import { createMemoryLogger } from './memory-logger.ts';

export const timeouts = { defaultSeconds: 60, maxSeconds: 86_400, noOutputSeconds: 0 };

export type DataFolder = AsyncDisposable & {
  readonly store: BuildStore;
  readonly artifacts: ArtifactStore;
  readonly buildsDirectory: string;
  /** As at a start of the service; what the test does not name is no limit. */
  openRetention(change?: Partial<RetentionOptions>): Promise<Retention>;
};

/** What a service keeps of builds, in this folder. */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const store = await openBuildStore(path);
  const artifacts = await openArtifactStore(join(path, 'artifacts'));
  const buildsDirectory = join(path, 'builds');
  await mkdir(buildsDirectory);
  return {
    ...{ store, artifacts, buildsDirectory },
    openRetention: (change) =>
      Retention.open({
        ...{ store, artifacts, buildsDirectory, logger: createMemoryLogger() },
        ...{ minFreeBytes: 0, buildRoomBytes: 0 },
        limits: { maxBuilds: 1000, maxBytes: Number.MAX_SAFE_INTEGER, maxRecords: 1000 },
        ...change,
      }),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
