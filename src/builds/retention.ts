import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactStore } from '../artifacts/artifact-store.ts';
import { bytesOnDisk, freeBytes, refuseWithoutRoom } from '../host/disk-room.ts';
import { removeQuietly } from '../lib/files.ts';
import type { Logger } from '../lib/logger.ts';
import { createSerial } from '../lib/serial.ts';
import { type Artifact, type BuildRecord, isTerminal } from '../model/build.ts';
import type { BuildStore, KeptFiles } from '../store/build-store.ts';
import { chooseRemovals, type KeepLimits, type KeptBuild, type MissingRoom } from './retention-policy.ts';

export type RetentionOptions = {
  readonly store: BuildStore;
  readonly artifacts: ArtifactStore;
  readonly buildsDirectory: string;
  readonly limits: KeepLimits & { readonly maxRecords: number };
  /** Builds are taken while the disk has this much free. */
  readonly minFreeBytes: number;
  /** What a build should find beside that for its work: old builds go for it, and none is refused. */
  readonly buildRoomBytes: number;
  readonly logger: Logger;
};

/** How many builds are measured at once. */
const batchSize = 64;

type Holder = Pick<KeptFiles, 'id' | 'artifact'>;

/**
 * Keeps logs, events and artifacts of builds that ended within their limits. Those that ended first go first, with their files at
 * once; their records stay much longer. A build that waits or runs is never touched.
 *
 * INVARIANTS:
 * - Files go first, then it is noted, which a full disk may not allow before: after a crash between the two the build is still
 *   the oldest, and goes again.
 * - One removal at a time. Disposing waits for the last one.
 */
export class Retention implements AsyncDisposable {
  readonly #options: RetentionOptions;
  readonly #oneByOne = createSerial();
  /** In the order they ended. */
  #kept: KeptBuild[] = [];
  /** Their files are gone, and a full disk has not let it be noted yet. */
  readonly #unnoted = new Set<string>();

  private constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** For the start of the service. Whatever no record names is removed, too: no build may be on its way to its record. */
  static async open(options: RetentionOptions): Promise<Retention> {
    const retention = new Retention(options);
    await retention.#removeOrphans();
    await retention.#measureAll();
    await retention.#tidy();
    return retention;
  }

  /** A build has ended. What is too much now is removed, in the background. */
  ended({ id, artifact }: BuildRecord): void {
    void this.#tidyAfter(async () => {
      this.#kept.push(await this.#measure({ id, artifact: artifact?.digest ?? null }));
    });
  }

  /** Lets old builds go until there is room for new ones. @throws KilnError NO_CAPACITY where there is not enough even so */
  async makeRoom(): Promise<void> {
    const { buildsDirectory, minFreeBytes } = this.#options;
    if ((await this.#missingRoom()).wanted > 0) await this.#tidyAfter(async () => undefined);
    await refuseWithoutRoom(buildsDirectory, minFreeBytes);
  }

  /** Never rejects: nobody who asks for room or ends a build can do anything about it, and whoever runs the service is told why. */
  async #tidyAfter(work: () => Promise<void>): Promise<void> {
    try {
      await this.#oneByOne(async () => {
        await work();
        await this.#tidy();
      });
    } catch (error) {
      this.#options.logger.error({ error }, 'old builds could not be removed');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#oneByOne(async () => undefined);
  }

  async #missingRoom(): Promise<MissingRoom> {
    const { buildsDirectory, minFreeBytes, buildRoomBytes } = this.#options;
    const needed = minFreeBytes - (await freeBytes(buildsDirectory));
    return { wanted: needed + buildRoomBytes, needed };
  }

  async #tidy(): Promise<void> {
    const { limits, store, logger } = this.#options;
    const removals = chooseRemovals(this.#kept, limits, await this.#missingRoom());
    for (const build of removals) await this.#remove(build);
    if (removals.length > 0)
      logger.info({ builds: removals.length, last: removals.at(-1)?.id }, 'files of old builds were removed');
    if (this.#unnoted.size > 0) await this.#note();
    await store.forget(limits.maxRecords);
  }

  async #remove({ id, artifact }: KeptBuild): Promise<void> {
    const { artifacts, buildsDirectory } = this.#options;
    this.#unnoted.add(id);
    this.#kept.shift();
    await removeQuietly(join(buildsDirectory, id));
    if (artifact) await artifacts.remove(artifact.digest, () => this.#isHeld(artifact.digest));
  }

  async #isHeld(digest: Artifact['digest']): Promise<boolean> {
    const holders = await this.#options.store.listHolders(digest);
    return holders.some((id) => !this.#unnoted.has(id));
  }

  async #note(): Promise<void> {
    const ids = [...this.#unnoted];
    await this.#options.store.markRemoved(ids, new Date().toISOString());
    for (const id of ids) this.#unnoted.delete(id);
  }

  /** Left by a start of a build or a removal that was cut short, or by records that are gone. */
  async #removeOrphans(): Promise<void> {
    const { store, artifacts, buildsDirectory } = this.#options;
    const kept = await store.listKept();
    const ids = new Set(kept.map(({ id }) => id));
    for (const name of await readdir(buildsDirectory))
      if (!ids.has(name)) await removeQuietly(join(buildsDirectory, name));
    const held = new Set(kept.map(({ artifact }) => artifact));
    for (const digest of await artifacts.list())
      if (!held.has(digest)) await artifacts.remove(digest, async () => false);
  }

  async #measureAll(): Promise<void> {
    const kept = await this.#options.store.listKept();
    const holders = kept.filter(({ state }) => isTerminal(state));
    for (let start = 0; start < holders.length; start += batchSize) {
      const batch = holders.slice(start, start + batchSize);
      this.#kept.push(...(await Promise.all(batch.map((holder) => this.#measure(holder)))));
    }
  }

  async #measure({ id, artifact: digest }: Holder): Promise<KeptBuild> {
    const { artifacts, buildsDirectory } = this.#options;
    const artifact = digest && { digest, bytes: await bytesOnDisk(artifacts.path(digest)) };
    return { id, bytes: await bytesOnDisk(join(buildsDirectory, id)), artifact };
  }
}
