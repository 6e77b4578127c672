import { isIP } from 'node:net';
import type { Artifact, Attempt, BuildRecord, EgressDestination, Verdict } from './build.ts';
import { BuildSecrets } from './build-secrets.ts';
import { defaultTenant } from './caller.ts';
import type { BuildEvent } from './event.ts';
import { outputSchema } from './output.ts';
import type { RequestOrigin } from './request-origin.ts';
import { type BuildSpec, parseSpec } from './spec.ts';

/** What kiln wrote before it had some of today's fields is read as if it had had them: nothing above the files knows of it. */

/** Of the proxy that builds once knew of: one host, whether a name or an address. */
type ProxyDestination = {
  readonly host: string;
  readonly port: number;
  readonly address: string | null;
  readonly allowed: boolean;
  readonly connections: number;
};

const defaults = parseSpec({});

type StoredVerdict = Omit<Verdict, 'failureClass'> & Partial<Pick<Verdict, 'failureClass'>>;

type Stored = Omit<
  BuildRecord,
  | keyof RequestOrigin
  | 'tenant'
  | 'matrix'
  | 'spec'
  | 'verdict'
  | 'secrets'
  | 'pushBegun'
  | 'pushed'
  | 'vm'
  | 'attempts'
  | 'namedContexts'
  | 'egress'
  | 'warnings'
> & {
  readonly requestId?: string | null;
  readonly traceparent?: string | null;
  readonly tenant?: string;
  readonly matrix?: string | null;
  /** `output` was one word. */
  readonly spec: Partial<BuildSpec> & { readonly output?: 'none' | Artifact['format'] };
  readonly pushBegun?: boolean;
  readonly pushed?: BuildRecord['pushed'];
  readonly secrets?: BuildRecord['secrets'];
  readonly verdict: StoredVerdict | null;
  readonly vm: Partial<NonNullable<BuildRecord['vm']>> | null;
  readonly attempts?: readonly Attempt[];
  readonly namedContexts?: BuildRecord['namedContexts'];
  readonly egress: readonly (EgressDestination | ProxyDestination)[];
  readonly warnings?: readonly string[];
};

/** @param stored JSON of a record, of whatever age. */
export function readRecord(stored: string): BuildRecord {
  // We wrote it: it has the form of some release.
  const record: Stored = JSON.parse(stored);
  return {
    ...record,
    requestId: record.requestId ?? null,
    traceparent: record.traceparent ?? null,
    tenant: record.tenant ?? defaultTenant,
    matrix: record.matrix ?? null,
    spec: readSpec(record.spec),
    pushBegun: record.pushBegun ?? false,
    pushed: record.pushed ?? [],
    secrets: record.secrets ?? BuildSecrets.none.names,
    verdict: record.verdict && readVerdict(record.verdict),
    // Steps shared the network of their VM.
    vm: record.vm && ({ network: 'vm', ...record.vm } as NonNullable<BuildRecord['vm']>),
    attempts: record.attempts ?? [],
    namedContexts: record.namedContexts ?? [],
    egress: record.egress.map(readDestination),
    warnings: record.warnings ?? [],
  };
}

function readSpec({ output, ...spec }: Stored['spec']): BuildSpec {
  const {
    outputs = output === undefined || output === 'none' ? [] : [outputSchema.parse({ type: output })],
  } = spec;
  return { ...defaults, ...spec, outputs };
}

/** @param stored JSON of an event, of whatever age. */
export function readEvent(stored: string): BuildEvent {
  const event: BuildEvent = JSON.parse(stored);
  if (event.type === 'egress') return { ...event, destination: readDestination(event.destination) };
  if (event.type === 'verdict') return { ...event, verdict: readVerdict(event.verdict) };
  return event;
}

/** What it failed by nobody noted. */
export function readVerdict(stored: StoredVerdict): Verdict {
  return { ...stored, failureClass: stored.failureClass ?? null };
}

function readDestination(stored: EgressDestination | ProxyDestination): EgressDestination {
  if (!('host' in stored)) return stored;
  const { host, address, allowed, ...rest } = stored;
  const bare = isIP(host.replace(/^\[|\]$/g, '')) > 0;
  return {
    ...rest,
    name: bare ? null : host,
    address: address ?? (bare ? host : null),
    announced: null,
    allowed,
    // Why something was refused nobody noted.
    reason: allowed && address === null ? 'unreachable' : null,
    bytesIn: 0,
    bytesOut: 0,
  };
}
