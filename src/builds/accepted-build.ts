import type { ArtifactStore } from '../artifacts/artifact-store.ts';
import type { WarmVm } from '../guest/warm-vm.ts';
import type { DiskBudget } from '../host/disk-budget.ts';
import type { Logger } from '../lib/logger.ts';
import type { BuildSecrets } from '../model/build-secrets.ts';
import type { Observer } from '../model/observer.ts';
import type { Lease } from '../pool/pool.ts';
import type { ReadDigest } from '../registry/read-digest.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { Journal } from './journal.ts';
import type { Retention } from './retention.ts';

/** One accepted build; what it was asked is in its folder. */
export type AcceptedBuild = {
  readonly journal: Journal;
  /** In memory alone: what an earlier run of the service accepted has none. */
  readonly secrets: BuildSecrets;
  /** Its VM, once the line has one for it. */
  readonly lease: Promise<Lease<WarmVm>>;
};

export type BuildTimeouts = {
  /** Of a build that asks for no other. */
  readonly defaultSeconds: number;
  /** Most that a build may ask for. */
  readonly maxSeconds: number;
  /** How long a build may print nothing, where it asks for nothing else; 0 for as long as it likes. */
  readonly noOutputSeconds: number;
};

export type RunDependencies = {
  readonly scheduler: Pick<Scheduler<WarmVm>, 'enterAgain'>;
  readonly artifacts: ArtifactStore;
  /** The room on the disk that VMs write on. */
  readonly disk: DiskBudget;
  /** Most that a build may write on its VM's own disk. */
  readonly vmDiskBytes: number;
  readonly maxArtifactBytes: number;
  readonly timeouts: BuildTimeouts;
  /** Where somebody counts. */
  readonly observer?: Observer;
  /** Of an image that a build pushed. */
  readonly readDigest: ReadDigest;
  readonly logger: Logger;
  readonly retention: Pick<Retention, 'makeRoom'>;
  /** Aborts when the service ends its builds. */
  readonly stopping: AbortSignal;
};
