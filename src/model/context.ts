import type { ContextSummary } from './build.ts';

/** An archive as it arrives. */
export type ArchiveUpload = {
  readonly bytes: AsyncIterable<Buffer>;
  /** What its sender says it is, tar.gz among tar; null where nothing is said. */
  readonly declared: 'tar' | 'zip' | null;
};

/**
 * The contexts of one build while they arrive: each passes the guard and becomes a folder in one image of a read-only file system
 * (EROFS). All limits are for the sum of them. Their names are still in memory, so that the Dockerfile can be looked up. Disposing
 * removes the image, unless it was sealed.
 */
export type ContextStaging = AsyncDisposable & {
  /** Of the build's own context, once it is there. */
  readonly summary: ContextSummary | null;
  /** The named ones that came so far, as BuildKit looks for them. */
  readonly names: readonly string[];
  /**
   * Takes one archive, when those before it have come to their end.
   * @param name of a named context; null for the build's own.
   * @throws KilnError the guard's; PARAM_INVALID for a name that none can have or that was given before. Nothing is left of any then.
   */
  add(name: string | null, upload: ArchiveUpload): Promise<void>;
  /**
   * Checks the Dockerfile and the .dockerignore files that apply, and gives the image to the sealed contexts; what can be asked only
   * once. When a check fails the image is removed.
   * @throws KilnError DOCKERFILE_MISSING, DOCKERFILE_INVALID, DOCKERIGNORE_INVALID, ENTRY_TYPE, FRONTEND_NOT_ALLOWED, PARAM_INVALID,
   * OCI_LAYOUT_INVALID, NO_CAPACITY
   */
  seal(paths: ContextPaths, policy: DockerfilePolicy): Promise<SealedContexts>;
};

export type ContextPaths = {
  /** Of the Dockerfile in the context; null where it comes from elsewhere. */
  readonly dockerfile: string | null;
  /** Of the folder in the archive that is the context; all of it by default. */
  readonly contextDir?: string | undefined;
};

/** What a build holds of its contexts, perhaps for long: none of their members' names. Disposing removes the image; harmless after it was moved away. */
export type SealedContexts = AsyncDisposable & {
  /** Absolute path of the image, a multiple of 4096 bytes long. */
  readonly path: string;
  /** The folder in the image that is the context, without links on the way; an empty one where no context was sent. */
  readonly directory: string;
  /** Of the context, with the warnings that the checks of its Dockerfile added; null where none was sent. */
  readonly summary: ContextSummary | null;
  /** The named ones, in the order they came. */
  readonly named: readonly NamedArchive[];
  /** What its Dockerfile names with `# syntax=`; null where that names none, or comes from elsewhere. */
  readonly frontend: string | null;
};

/** A named context that came as an archive. */
export type NamedArchive = {
  readonly name: string;
  /** The folder in the image that holds it. */
  readonly directory: string;
  /** Of the one image in it, where it is an OCI image layout; null for a folder of files. */
  readonly imageDigest: `sha256:${string}` | null;
  readonly summary: ContextSummary;
};

export type DockerfilePolicy = {
  /** Whether `# syntax=` may name a frontend image that runs in place of the built-in one. */
  readonly customFrontends: boolean;
};

/** Of all contexts of one build together. */
export type ContextLimits = {
  /** Bytes as plain tars. */
  readonly maxBytes: number;
  readonly maxEntries: number;
};
