import type { Artifact, BuildRecord } from './build.ts';
import type { CatalogItem } from './catalog-item.ts';
import type { ArchiveUpload, StagedContext } from './context.ts';
import type { EventItem, WatchItem } from './event.ts';
import type { BuildSpec } from './spec.ts';

/** The use-cases, as the edges see them. Every promise rejects with a KilnError. */
export type Builds = {
  /**
   * Checks what can be told of a request before its context is there, so that nobody uploads one in vain; `start` checks it
   * again. @throws PARAM_INVALID, FRONTEND_NOT_ALLOWED, DOCKERFILE_INVALID
   */
  check(request: Omit<BuildRequest, 'context'>): void;

  /** Streams an uploaded archive (tar, gzip, zip) through the context guard into a staged image for the VM. */
  stageContext(upload: ArchiveUpload, signal: AbortSignal): Promise<StagedContext>;

  /**
   * Owns the context from the call on, also where it rejects, and queues the build; resolves as soon as it has a record.
   * At least one of `context` and `dockerfile` is given.
   * @throws NO_CAPACITY, DRAINING, DOCKERFILE_MISSING, …
   */
  start(request: BuildRequest): Promise<BuildRecord>;
  /**
   * A client that waits for the build's end: `await using` it around everything that is sent to that client. Leaving it
   * before the build has ended cancels the build. Its disposal never rejects.
   */
  attend(id: string): AsyncDisposable;

  get(id: string): Promise<BuildRecord>;
  /**
   * Newest first, at most `limit`, fewer where the records are large. `before` is the id of the last record of the page
   * before.
   */
  list(page: { limit: number; before?: string }): Promise<BuildPage>;
  /** Resolves when the build is terminal and its VM is gone. @throws BUILD_TERMINAL, NOT_FOUND */
  cancel(id: string, reason: string): Promise<BuildRecord>;

  /** The plain log from byte `offset`; with `follow`, until the build is terminal. @throws OUT_OF_RANGE, NOT_FOUND, GONE */
  readLog(id: string, options: ReadOptions): Promise<AsyncIterable<Buffer>>;
  /** Log and events as they come; with `follow`, the last item is the verdict, after the whole log. */
  watch(id: string, options: WatchOptions): Promise<AsyncIterable<WatchItem>>;
  /**
   * The events alone, from byte `offset` of their file; with `follow`, the last one is the verdict.
   * @throws OUT_OF_RANGE, OFFSET_INVALID, NOT_FOUND, GONE
   */
  events(id: string, options: ReadOptions): Promise<AsyncGenerator<EventItem, void>>;
  /** @throws NOT_READY before the build is finished, NOT_FOUND when it kept none, GONE when that was removed to make room. */
  artifact(id: string): Promise<{ readonly artifact: Artifact; readonly path: string }>;

  /** All archive entries, oldest BuildKit first. @throws IMAGE_CORRUPT */
  catalog(): Promise<readonly CatalogItem[]>;

  /** Whether a build can run now, and on what. */
  readiness(): Readiness;
};

export type BuildRequest = {
  readonly spec: BuildSpec;
  readonly context: StagedContext | null;
  /** The Dockerfile itself, where it was uploaded apart from the context; at most 1 MiB. */
  readonly dockerfile: Buffer | null;
};

export type BuildPage = {
  readonly builds: readonly BuildRecord[];
  /** Whether older ones follow. */
  readonly more: boolean;
};

export type ReadOptions = { readonly offset: number; readonly follow: boolean; readonly signal: AbortSignal };
export type WatchOptions = {
  readonly logOffset: number;
  readonly eventOffset: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
};

type PoolCounts = {
  readonly warm: number;
  readonly frozen: number;
  readonly leased: number;
  readonly starting: number;
  /** Warm ones that are kept. */
  readonly size: number;
};

export type Readiness = {
  readonly ready: boolean;
  /** Why not, in one sentence; null when ready. */
  readonly reason: string | null;
  readonly draining: boolean;
  /** Of builds that ask for none. */
  readonly entry: string;
  readonly accelerator: { readonly name: 'kvm' | 'tcg'; readonly note: string | null };
  /** VMs of all entries together. */
  readonly pool: PoolCounts & { readonly max: number };
  /** Those of each entry that is kept ready, or that a build has asked for. */
  readonly pools: readonly (PoolCounts & { readonly entry: string })[];
  readonly queue: { readonly waiting: number; readonly limit: number };
};
