import type { Artifact, BuildRecord } from './build.ts';
import type { ArchiveUpload, StagedContext } from './context.ts';
import type { WatchItem } from './event.ts';
import type { BuildSpec } from './spec.ts';

/** The use-cases, as the edges see them. Every promise rejects with a KilnError. */
export type Builds = {
  /** Streams an uploaded archive (tar, gzip, zip) through the context guard into a staged image for the VM. */
  stageContext(upload: ArchiveUpload, signal: AbortSignal): Promise<StagedContext>;

  /**
   * Takes ownership of the context and queues the build; resolves as soon as it has a record.
   * At least one of `context` and `dockerfile` is given.
   * @throws NO_CAPACITY, DRAINING, DOCKERFILE_MISSING, …
   */
  start(request: BuildRequest): Promise<BuildRecord>;

  get(id: string): Promise<BuildRecord>;
  /** Newest first. `before` is the id of the last record of the previous page. */
  list(page: { limit: number; before?: string }): Promise<readonly BuildRecord[]>;
  /** Resolves when the build is terminal and its VM is gone. @throws BUILD_TERMINAL, NOT_FOUND */
  cancel(id: string, reason: string): Promise<BuildRecord>;

  /** The plain log from byte `offset`; with `follow`, until the build is terminal. @throws OUT_OF_RANGE, NOT_FOUND */
  readLog(id: string, options: ReadOptions): Promise<AsyncIterable<Buffer>>;
  /** Log and events as they come; with `follow`, the last item is the verdict, after the whole log. */
  watch(id: string, options: WatchOptions): Promise<AsyncIterable<WatchItem>>;
  /** @throws NOT_READY before the build is finished, NOT_FOUND when it kept none. */
  artifact(id: string): Promise<{ readonly artifact: Artifact; readonly path: string }>;

  /** Whether a build can run now, and on what. */
  readiness(): Readiness;
};

export type BuildRequest = {
  readonly spec: BuildSpec;
  readonly context: StagedContext | null;
  /** The Dockerfile itself, where it was uploaded apart from the context; at most 1 MiB. */
  readonly dockerfile: Buffer | null;
};

export type ReadOptions = { readonly offset: number; readonly follow: boolean; readonly signal: AbortSignal };
export type WatchOptions = {
  readonly logOffset: number;
  readonly eventOffset: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
};

export type Readiness = {
  readonly ready: boolean;
  /** Why not, in one sentence; null when ready. */
  readonly reason: string | null;
  readonly draining: boolean;
  readonly entry: string;
  readonly accelerator: { readonly name: 'kvm' | 'tcg'; readonly note: string | null };
  readonly pool: {
    readonly warm: number;
    readonly leased: number;
    readonly starting: number;
    readonly size: number;
    readonly max: number;
  };
  readonly queue: { readonly waiting: number; readonly limit: number };
};
