import type { Artifact, BuildState, EgressDestination, PushedImage, Verdict } from './build.ts';
import type { ErrorCode } from './error.ts';
import type { Step } from './operation.ts';

/**
 * What happened in a build, in order, one JSON object a line in its events file. `at` is RFC 3339.
 * The last event of every build is its verdict.
 */
export type BuildEvent = { readonly at: string } & (
  | { readonly type: 'queued'; readonly place: number }
  | { readonly type: 'state'; readonly state: BuildState }
  /** The attempt before it was no good: the build is queued once more, and has a log of its own from here on. */
  | { readonly type: 'attempt'; readonly attempt: number; readonly code: ErrorCode; readonly message: string }
  /** The service stops, and the build with it, which goes on after the next start. */
  | { readonly type: 'paused'; readonly message: string }
  | { readonly type: 'warning'; readonly message: string }
  /** One SolveStatus object of `buildctl --trace`, as BuildKit wrote it (vertexes, statuses, logs, warnings); a large one in several. */
  | { readonly type: 'status'; readonly status: unknown }
  | { readonly type: 'egress'; readonly destination: EgressDestination }
  | { readonly type: 'artifact'; readonly artifact: Artifact }
  | { readonly type: 'pushed'; readonly image: PushedImage }
  /** Of an operation alone: a step began or ended. */
  | { readonly type: 'step'; readonly step: Step }
  | { readonly type: 'verdict'; readonly verdict: Verdict }
);

/** One item of a watched build: bytes of the plain log of an attempt at `offset`, or an event ending at `offset` of the events file. */
export type WatchItem =
  | { readonly kind: 'log'; readonly attempt: number; readonly offset: number; readonly data: Buffer }
  | EventItem;

export type EventItem = { readonly kind: 'event'; readonly offset: number; readonly event: BuildEvent };
