import type { ReadOptions, WatchOptions } from './builds.ts';
import type { Caller } from './caller.ts';
import type { EventItem, WatchItem } from './event.ts';
import type { ImageTarget, Operation, RebuildRequest } from './operation.ts';

/** What administrators do with the images of this host, as the edges see it. Each takes the role admin (ROLE_TOO_LOW). */
export type Operations = {
  /**
   * Begins to make, check and serve another VM image; it goes on whoever leaves.
   * @throws BUILDKIT_UNKNOWN, REBUILD_RUNNING, VERSION_EXISTS, DRAINING
   */
  rebuild(caller: Caller, request: RebuildRequest): Promise<Operation>;
  /** The same again, for one that did not succeed. @throws as `rebuild`, NOT_FOUND; OPERATION_ENDED where it did */
  resume(caller: Caller, id: string): Promise<Operation>;
  /**
   * Builds run on the image before the present one, from now on. Takes seconds where its template is still there.
   * @throws BUILDKIT_UNKNOWN, NO_PREVIOUS_IMAGE, REBUILD_RUNNING, IMAGE_CORRUPT
   */
  rollBack(caller: Caller, entry: string): Promise<ServedImage>;

  /** Removes the images that operations made and that no entry serves, nor served before. An entry whose image is being changed is left alone. */
  prune(caller: Caller, options: { readonly dryRun: boolean }): Promise<readonly PrunedImage[]>;

  /**
   * What is told of the images that an operation made, as JSON: what is in them (SPDX), or signed, how they were made (a DSSE envelope).
   * @throws NOT_FOUND, also where it made none or they were removed
   */
  evidence(caller: Caller, id: string, kind: EvidenceKind): Promise<string>;

  /** @throws NOT_FOUND */
  get(caller: Caller, id: string): Promise<Operation>;
  /** The newest first. */
  list(caller: Caller): Promise<readonly Operation[]>;
  /** Resolves when it has ended. @throws NOT_FOUND, OPERATION_ENDED; STORAGE_FULL where that cannot be recorded */
  cancel(caller: Caller, id: string, reason: string): Promise<Operation>;
  /** Log and events as they come; with `follow`, the last item is the verdict, after the whole log. @throws as `events` */
  watch(caller: Caller, id: string, options: WatchOptions): Promise<AsyncIterable<WatchItem>>;
  /** What its steps print, from byte `offset`. @throws NOT_FOUND, OUT_OF_RANGE */
  readLog(caller: Caller, id: string, range: ReadOptions): Promise<AsyncIterable<Buffer>>;
  /** The beginning and the end of each step; the last one is the verdict. @throws NOT_FOUND, OUT_OF_RANGE, OFFSET_INVALID */
  events(caller: Caller, id: string, range: ReadOptions): Promise<AsyncGenerator<EventItem, void>>;
};

export type EvidenceKind = 'sbom' | 'provenance';

/** An image that was removed, or would be. */
export type PrunedImage = {
  readonly entry: string;
  readonly kind: ImageTarget;
  readonly version: string;
  /** What it takes on the disk. */
  readonly bytes: number;
};

/** Which image the builds of an entry run on. */
export type ServedImage = {
  readonly entry: string;
  /** Null for the one that a start of kiln makes. */
  readonly version: string | null;
  readonly imageDigest: string;
};
