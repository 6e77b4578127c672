import type { ContextSummary } from './build.ts';

/** An archive as it arrives. */
export type ArchiveUpload = {
  readonly bytes: AsyncIterable<Buffer>;
  /** What its sender says it is, tar.gz among tar; null where nothing is said. */
  readonly declared: 'tar' | 'zip' | null;
};

/**
 * A context that passed the guard, staged as the image of a read-only file system (EROFS). Whoever holds it owns the file:
 * disposing removes it, which is harmless after it was moved away.
 */
export type StagedContext = AsyncDisposable & {
  /** Absolute path of the image, a multiple of 4096 bytes long. */
  readonly path: string;
  readonly summary: ContextSummary;
  /**
   * Checks the Dockerfile at `path` and the .dockerignore that applies to it.
   * @throws KilnError DOCKERFILE_MISSING, DOCKERFILE_INVALID, DOCKERIGNORE_INVALID, FRONTEND_NOT_ALLOWED
   */
  checkDockerfile(path: string, policy: DockerfilePolicy): Promise<void>;
  /** Checks the .dockerignore that applies to a Dockerfile from elsewhere. @throws KilnError DOCKERIGNORE_INVALID */
  checkDockerignore(): Promise<void>;
  /** A build may wait long: after the checks, what they were made by is not kept in memory. */
  forgetNames(): void;
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
