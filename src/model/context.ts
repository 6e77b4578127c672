import type { ContextSummary } from './build.ts';

/** An archive as it arrives. */
export type ArchiveUpload = {
  readonly bytes: AsyncIterable<Buffer>;
  /** What its sender says it is, tar.gz among tar; null where nothing is said. */
  readonly declared: 'tar' | 'zip' | null;
};

/**
 * A context that passed the guard, staged as the image of a read-only file system (EROFS). Its names are still in memory, so that
 * the Dockerfile can be looked up. Disposing removes the image, unless it was sealed.
 */
export type StagedContext = AsyncDisposable & {
  readonly summary: ContextSummary;
  /**
   * Checks the Dockerfile and the .dockerignore that applies to it, and gives the image to the sealed context; what can be asked only
   * once. When a check fails the image is removed.
   * @throws KilnError DOCKERFILE_MISSING, DOCKERFILE_INVALID, DOCKERIGNORE_INVALID, ENTRY_TYPE, FRONTEND_NOT_ALLOWED, PARAM_INVALID
   */
  seal(paths: ContextPaths, policy: DockerfilePolicy): Promise<SealedContext>;
};

export type ContextPaths = {
  /** Of the Dockerfile in the context; null where it comes from elsewhere. */
  readonly dockerfile: string | null;
  /** Of the folder in the archive that is the context; all of it by default. */
  readonly contextDir?: string | undefined;
};

/** What a build holds of its context, perhaps for long: no names. Disposing removes the image; harmless after it was moved away. */
export type SealedContext = AsyncDisposable & {
  /** Absolute path of the image, a multiple of 4096 bytes long. */
  readonly path: string;
  /** The folder in the image that is the context, without links on the way; empty for the root. */
  readonly directory: string;
  /** With the warnings that the checks of its Dockerfile added. */
  readonly summary: ContextSummary;
  /** What its Dockerfile names with `# syntax=`; null where that names none, or comes from elsewhere. */
  readonly frontend: string | null;
};

export type DockerfilePolicy = {
  /** Whether `# syntax=` may name a frontend image that runs in place of the built-in one. */
  readonly customFrontends: boolean;
};

export type ContextLimits = {
  /** Bytes as a plain tar. */
  readonly maxBytes: number;
  readonly maxEntries: number;
};
