import type { SecretNames } from './build-secrets.ts';
import type { ErrorCode } from './error.ts';
import type { FailureClass } from './failure-class.ts';
import type { ContextKind } from './named-context.ts';
import type { RequestOrigin } from './request-origin.ts';
import type { BuildSpec } from './spec.ts';

/**
 * The vocabulary of a build.
 *
 * queued → running → one of the terminal states. What was queued when the service ended is queued after its next start. An attempt
 * that fails by no fault of the build (INFRA, the end of the service among it) is followed by one more: running → queued, once. Where that
 * may not be, the build is `failed` or, where the service ended, `interrupted`. No other transition exists.
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
  /** What kind of thing it failed by; null where it succeeded, and for builds of kilns that did not say. */
  readonly failureClass: FailureClass | null;
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

/** An image in a registry, as kiln read it back from there. */
export type PushedImage = { readonly reference: string; readonly digest: string };

/** The context as it was accepted: digest and size as a plain tar, whatever it was sent as. */
export type ContextSummary = {
  readonly digest: `sha256:${string}`;
  /** Bytes of the tar. */
  readonly size: number;
  readonly entries: number;
  readonly warnings: readonly string[];
};

/** A context beside the build's own; where one comes from that is no archive is in the spec. */
export type NamedContextSummary = {
  /** As BuildKit looks for it. */
  readonly name: string;
  readonly kind: ContextKind;
  /** Of an archive; null for all others. */
  readonly archive: ContextSummary | null;
};

/** Why kiln did not let a build out, in stable words. */
export const refusalReasons = [
  /** There is no such name. */
  'name-unknown',
  /** No name server said in time what the name means. */
  'name-unresolved',
  /** A private address, or one of the machine that kiln runs on. */
  'not-public',
  /** KILN_EGRESS_DENY names it. */
  'denied',
  /** KILN_EGRESS_ONLY does not name it. */
  'not-in-only',
  /** The build itself asked for no network. */
  'network-none',
] as const;
export type RefusalReason = (typeof refusalReasons)[number];

/** A connection that a rule of this service kept from coming about: when, in ms since 1970, and to where. */
export type Refusal = { readonly at: number; readonly destination: string; readonly reason: RefusalReason };

/** Why there was no connection although it was allowed. */
export const failureReasons = ['unreachable', 'connection-refused'] as const;
export type FailureReason = (typeof failureReasons)[number];

/**
 * One destination of a build: a host and a port with one outcome. One without name, address and port stands for all beyond the first
 * thousand.
 */
export type EgressDestination = {
  /** As the build looked it up; null where it used a bare address. */
  readonly name: string | null;
  /** Address connected to, or refused; null where there is none. */
  readonly address: string | null;
  /** Null where a name was refused before anything was connected to. */
  readonly port: number | null;
  /** Of a bare address: the name that the build's own first bytes say (TLS, HTTP). Nobody has checked it. */
  readonly announced: string | null;
  readonly allowed: boolean;
  /** Null where a connection came about, and where a kiln refused that did not note why yet. */
  readonly reason: RefusalReason | FailureReason | null;
  /** How often; of a refused name, how often it was asked for. */
  readonly connections: number;
  /** Bytes that the build received. */
  readonly bytesIn: number;
  /** Bytes that the build sent. */
  readonly bytesOut: number;
};

/** Whose network a RUN step has: one of its own behind a bridge, or the VM's, which steps then share. */
export type StepNetwork = 'bridge' | 'vm';

export const phases = ['queued', 'leased', 'contextReady', 'buildFinished', 'finished'] as const;
export type Phase = (typeof phases)[number];

/** One run of a build, in a VM of its own. */
export type Attempt = {
  /** Counted from 1. */
  readonly number: number;
  /** Id of its VM. */
  readonly vm: string;
  readonly started: string;
  /** Null while it runs. */
  readonly ended: string | null;
  /** How long it took of the time that the build may take; null while it runs. */
  readonly seconds: number | null;
  /** Why it was no good; null where it ended as the build did. */
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
};

/** A build's record: what `GET /v1/builds/:id` shows. Times are RFC 3339, sizes bytes. */
export type BuildRecord = RequestOrigin & {
  readonly id: string;
  /** Whose it is. */
  readonly tenant: string;
  /** The matrix that it is one build of; null for a build by itself. */
  readonly matrix: string | null;
  readonly state: BuildState;
  readonly spec: BuildSpec;
  /** What it was given that nobody may see, by name. */
  readonly secrets: SecretNames;
  readonly verdict: Verdict | null;
  /** When each phase was reached; null while it was not. */
  readonly times: Readonly<Record<Phase, string | null>>;
  readonly vm: {
    readonly id: string;
    readonly accelerator: Accelerator;
    readonly network: StepNetwork;
  } | null;
  /** In their order; more than one where those before the last were no good. */
  readonly attempts: readonly Attempt[];
  readonly entry: EntrySummary;
  readonly context: ContextSummary | null;
  /** Those beside it: archives first. */
  readonly namedContexts: readonly NamedContextSummary[];
  /** Digest of the image that was built, where buildctl's metadata names one. */
  readonly imageDigest: string | null;
  readonly artifact: Artifact | null;
  /** Whether it has begun to push: from then on it is not run again. */
  readonly pushBegun: boolean;
  /** What it pushed, as it was found in the registries after its end. */
  readonly pushed: readonly PushedImage[];
  readonly egress: readonly EgressDestination[];
  /** What the caller should know of how it was built, in sentences; those of its context are with that. */
  readonly warnings: readonly string[];
};

/** What a build runs on: the archive entry, its versions, the digest of the VM image. Until it has a VM, what it would have run on when it was sent. */
export type EntrySummary = {
  readonly name: string;
  readonly imageDigest: string;
  readonly versions: Readonly<Record<string, string>>;
};
