import type { Artifact, BuildRecord } from './build.ts';
import type { PageRequest } from './build-filter.ts';
import type { BuildSecrets } from './build-secrets.ts';
import type { Caller } from './caller.ts';
import type { CatalogItem } from './catalog-item.ts';
import type { ContextStaging } from './context.ts';
import type { EventItem, WatchItem } from './event.ts';
import type { Matrix } from './matrix.ts';
import type { RequestOrigin } from './request-origin.ts';
import type { BuildSpec } from './spec.ts';

/**
 * The use-cases, as the edges see them. Every promise rejects with a KilnError. Reading takes the role read, `receive` to `startMatrix`,
 * `cancel` and `cancelMatrix` the role build (ROLE_TOO_LOW); a build of another tenant is NOT_FOUND, whatever is asked of it.
 */
export type Builds = {
  /**
   * A request for a build is about to be received: held until `start` has it. Only so many are received at once, as each of them takes
   * memory and files; where there is no room, one that crawls gives way. @throws NO_CAPACITY, ROLE_TOO_LOW
   */
  receive(caller: Caller, progress: UploadProgress): Reception;

  /**
   * Checks what can be told of a request before its context is there, so that nobody uploads one in vain; `start` checks it
   * again. @throws PARAM_INVALID, BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE, FRONTEND_NOT_ALLOWED, DOCKERFILE_INVALID
   */
  check(caller: Caller, request: CheckedRequest): void;

  /**
   * Begins the image that the build's VM gets of its contexts: its own and named ones, each of which is added as it arrives.
   * @param signal ends the staging until it is sealed
   * @throws NO_CAPACITY, DRAINING, ROLE_TOO_LOW
   */
  stageContexts(caller: Caller, signal: AbortSignal): Promise<ContextStaging>;

  /**
   * Owns the contexts from the call on, also where it rejects, and queues the build; resolves as soon as it has a record.
   * At least one of a context of the build's own and `dockerfile` is given.
   * @throws NO_CAPACITY, DRAINING, DOCKERFILE_MISSING, IDEMPOTENCY_KEY_REUSED, …
   */
  start(caller: Caller, request: BuildRequest): Promise<BuildRecord>;
  /**
   * Builds one request by each of these entries, at most `maxMatrixBuilds`, from one upload: all of them are queued or none. Owns the
   * contexts as `start` does. @throws as `start`, PARAM_INVALID for an entry that is named twice
   */
  startMatrix(caller: Caller, request: MatrixRequest): Promise<Matrix>;
  /** @throws NOT_FOUND */
  matrix(caller: Caller, id: string): Promise<Matrix>;
  /** Cancels those of its builds that have not ended. @throws NOT_FOUND, BUILD_TERMINAL where all have */
  cancelMatrix(caller: Caller, id: string, reason: string): Promise<Matrix>;
  /**
   * A client that waits for the build's end: `await using` it around everything that is sent to that client. Leaving it
   * before the build has ended cancels the build. Its disposal never rejects.
   */
  attend(caller: Caller, id: string): AsyncDisposable;

  get(caller: Caller, id: string): Promise<BuildRecord>;
  /** The caller's tenant's, newest first, at most `limit`, fewer where the records are large. */
  list(caller: Caller, request: PageRequest): Promise<BuildPage>;
  /** Resolves when the build is terminal and its VM is gone. @throws BUILD_TERMINAL, NOT_FOUND; STORAGE_FULL where that cannot be recorded */
  cancel(caller: Caller, id: string, reason: string): Promise<BuildRecord>;

  /**
   * The plain log of one attempt, the last by default, from byte `offset`; with `follow`, until that attempt has ended.
   * @throws OUT_OF_RANGE, NOT_FOUND, GONE; OFFSET_INVALID for an offset without an attempt where there were several
   */
  readLog(caller: Caller, id: string, options: LogOptions): Promise<AsyncIterable<Buffer>>;
  /**
   * The logs from this attempt on, the first by default, and the events as they come; with `follow`, the last item is the verdict, after every
   * log, or `paused` where the service stops before that. @throws as `readLog`; OFFSET_INVALID also for an event offset within an event
   */
  watch(caller: Caller, id: string, options: WatchOptions): Promise<AsyncIterable<WatchItem>>;
  /**
   * The events alone, from byte `offset` of their file; with `follow`, the last one is the verdict.
   * @throws OUT_OF_RANGE, OFFSET_INVALID, NOT_FOUND, GONE
   */
  events(caller: Caller, id: string, options: ReadOptions): Promise<AsyncGenerator<EventItem, void>>;
  /** @throws NOT_READY before the build is finished, NOT_FOUND when it kept none, GONE when that was removed to make room. */
  artifact(caller: Caller, id: string): Promise<{ readonly artifact: Artifact; readonly path: string }>;

  /** All archive entries, oldest BuildKit first. */
  catalog(caller: Caller): Promise<readonly CatalogItem[]>;

  /** Whether a build can run now, and on what. It tells of no tenant and takes no caller: probes have no token. */
  readiness(): Readiness;
};

export type BuildRequest = {
  readonly spec: BuildSpec;
  /** What was uploaded of its contexts, its own and named ones; null where it has only a Dockerfile. */
  readonly context: ContextStaging | null;
  /** The Dockerfile itself, where it was uploaded apart from the context; at most 1 MiB. */
  readonly dockerfile: Buffer | null;
  /** None by default. */
  readonly secrets?: BuildSecrets | undefined;
  /**
   * A key of the sender's own, of this tenant: for 24 hours the same request with it is the same build, and another one is refused. Its client
   * may come back to it, so that its going away does not end the build.
   */
  readonly idempotencyKey?: string | undefined;
  /** What it says of itself; nothing where it came from nowhere. */
  readonly origin?: RequestOrigin;
};

/** What is known of a request before its contexts are there. */
export type CheckedRequest = Omit<BuildRequest, 'context'> & {
  /** Of a matrix alone. */
  readonly entries?: readonly string[];
  /** Names of the contexts that come as archives, as far as they are known. */
  readonly archives?: readonly string[];
};

/** The `entry` of its spec counts for nothing. */
export type MatrixRequest = BuildRequest & { readonly entries: readonly string[] };

export type BuildPage = {
  readonly builds: readonly BuildRecord[];
  /** Whether older ones follow. */
  readonly more: boolean;
};

export type ReadOptions = { readonly offset: number; readonly follow: boolean; readonly signal: AbortSignal };
export type LogOptions = ReadOptions & { readonly attempt?: number | undefined };
export type WatchOptions = {
  readonly attempt?: number | undefined;
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

/** Bytes of a request that have come so far; null once all of it is there. */
export type UploadProgress = () => number | null;

/** A request's place among those that are received. Its signal aborts, with UPLOAD_TIMEOUT, when it has to give way. */
export type Reception = Disposable & { readonly signal: AbortSignal };
