import type { BuildState } from './build.ts';

/** Which builds are asked for; what is not set holds for all. */
export type BuildFilter = {
  /** In one of these. */
  readonly states?: readonly BuildState[] | undefined;
  /** A name that the build was to give its image, as it was written. */
  readonly tag?: string | undefined;
  /** Accepted then or later. */
  readonly since?: Date | undefined;
  /** Accepted before. */
  readonly until?: Date | undefined;
};

/** A page of the builds that it leaves, newest first; `before` is the id of the last record of the page before. */
export type PageRequest = BuildFilter & { readonly limit: number; readonly before?: string | undefined };
