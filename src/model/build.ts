import type { ErrorCode } from './error.ts';
import type { BuildSpec } from './spec.ts';

/**
 * The vocabulary of a build.
 *
 * queued → running → one of the terminal states. A build that was queued or running when the service died
 * is `interrupted` at the next start. No other transition exists.
 */
export const terminalStates = ['succeeded', 'failed', 'cancelled', 'interrupted'] as const;
export const buildStates = ['queued', 'running', ...terminalStates] as const;
export type BuildState = (typeof buildStates)[number];
export type TerminalState = (typeof terminalStates)[number];

export function isTerminal(state: BuildState): state is TerminalState {
  return (terminalStates as readonly string[]).includes(state);
}

/** How a build ended. The end of a stream never says so; only this does. */
export type Verdict = {
  readonly state: TerminalState;
  /** Exit code of buildctl, where it ran to its end. */
  readonly exitCode: number | null;
  /** Why it did not succeed: null code means that the Dockerfile itself failed (exitCode tells). */
  readonly code: ErrorCode | null;
  /** One sentence for people. */
  readonly message: string;
};

export type Accelerator = 'kvm' | 'tcg';

/** One kept output of a build: a file named by its sha256. */
export type Artifact = {
  readonly format: 'docker' | 'oci' | 'local';
  readonly digest: `sha256:${string}`;
  /** Bytes. */
  readonly size: number;
};

/** The context as it was accepted: digest and size as a plain tar, whatever it was sent as. */
export type ContextSummary = {
  readonly digest: `sha256:${string}`;
  /** Bytes of the tar. */
  readonly size: number;
  readonly entries: number;
  readonly warnings: readonly string[];
};

/** Where a build connected to through the egress proxy. */
export type EgressDestination = {
  readonly host: string;
  readonly port: number;
  /** Address connected to; null when it was refused or not found. */
  readonly address: string | null;
  readonly allowed: boolean;
  readonly connections: number;
};

export const phases = ['queued', 'leased', 'contextReady', 'buildFinished', 'finished'] as const;
export type Phase = (typeof phases)[number];

/** A build's record: what `GET /v1/builds/:id` shows. Times are RFC 3339, sizes bytes. */
export type BuildRecord = {
  readonly id: string;
  readonly state: BuildState;
  readonly spec: BuildSpec;
  readonly verdict: Verdict | null;
  /** When each phase was reached; null while it was not. */
  readonly times: Readonly<Record<Phase, string | null>>;
  readonly vm: { readonly id: string; readonly accelerator: Accelerator } | null;
  readonly entry: EntrySummary;
  readonly context: ContextSummary | null;
  /** Digest of the image that was built, where buildctl's metadata names one. */
  readonly imageDigest: string | null;
  readonly artifact: Artifact | null;
  readonly egress: readonly EgressDestination[];
  /** What the caller should know of how it was built, in sentences; those of its context are with that. */
  readonly warnings: readonly string[];
};

/** What a build ran on: the archive entry, its versions, the digest of the VM image. */
export type EntrySummary = {
  readonly name: string;
  readonly imageDigest: string;
  readonly versions: Readonly<Record<string, string>>;
};
