import type * as model from '../model/build.ts';
import type { SecretNames } from '../model/build-secrets.ts';
import type { BuildEvent, WatchItem } from '../model/event.ts';
import type { ContextKind } from '../model/named-context.ts';
import type { Step } from '../model/operation.ts';
import type { BuildSpec } from '../model/spec.ts';
import * as proto from './generated/kiln/v1/build.ts';
import type { LogChunk, BuildEvent as ProtoEvent, Step as ProtoStep } from './generated/kiln/v1/event.ts';
import { outputTypes, toOutputSpec } from './outputs.ts';

/** The model in the words of the protocol. */

export const states: Readonly<Record<model.BuildState, proto.BuildState>> = {
  queued: proto.BuildState.BUILD_STATE_QUEUED,
  running: proto.BuildState.BUILD_STATE_RUNNING,
  succeeded: proto.BuildState.BUILD_STATE_SUCCEEDED,
  failed: proto.BuildState.BUILD_STATE_FAILED,
  cancelled: proto.BuildState.BUILD_STATE_CANCELLED,
  interrupted: proto.BuildState.BUILD_STATE_INTERRUPTED,
};

const accelerators: Readonly<Record<model.Accelerator, proto.Accelerator>> = {
  kvm: proto.Accelerator.ACCELERATOR_KVM,
  tcg: proto.Accelerator.ACCELERATOR_TCG,
};

const contextKinds: Readonly<Record<ContextKind, proto.ContextKind>> = {
  folder: proto.ContextKind.CONTEXT_KIND_FOLDER,
  'oci-layout': proto.ContextKind.CONTEXT_KIND_OCI_LAYOUT,
  'docker-image': proto.ContextKind.CONTEXT_KIND_DOCKER_IMAGE,
  git: proto.ContextKind.CONTEXT_KIND_GIT,
  http: proto.ContextKind.CONTEXT_KIND_HTTP,
};

const networks: Readonly<Record<BuildSpec['network'], proto.Network>> = {
  default: proto.Network.NETWORK_DEFAULT,
  none: proto.Network.NETWORK_NONE,
};

const retries: Readonly<Record<BuildSpec['retry'], proto.Retry>> = {
  infra: proto.Retry.RETRY_INFRA,
  never: proto.Retry.RETRY_NEVER,
};

const stepNetworks: Readonly<Record<model.StepNetwork, proto.StepNetwork>> = {
  bridge: proto.StepNetwork.STEP_NETWORK_BRIDGE,
  vm: proto.StepNetwork.STEP_NETWORK_VM,
};

export function toBuildRecord(record: model.BuildRecord): proto.BuildRecord {
  return {
    id: record.id,
    requestId: record.requestId ?? undefined,
    traceparent: record.traceparent ?? undefined,
    tenant: record.tenant,
    matrix: record.matrix ?? undefined,
    attempts: record.attempts.map(toAttempt),
    state: states[record.state],
    spec: toProtoSpec(record.spec),
    secrets: toSecretNames(record.secrets),
    verdict: record.verdict ? toVerdict(record.verdict) : undefined,
    times: toTimes(record.times),
    vm: record.vm ? toVm(record.vm) : undefined,
    entry: { ...record.entry, versions: toPairs(record.entry.versions) },
    context: toContext(record.context),
    namedContexts: record.namedContexts.map(({ name, kind, archive }) => ({
      ...{ name, kind: contextKinds[kind], archive: toContext(archive) },
    })),
    imageDigest: record.imageDigest ?? undefined,
    ...{ pushBegun: record.pushBegun, pushed: record.pushed.map((image) => ({ ...image })) },
    artifact: record.artifact ? toArtifact(record.artifact) : undefined,
    egress: record.egress.map(toDestination),
    warnings: [...record.warnings],
  };
}

function toSecretNames({ registries, secrets, sshKeys }: SecretNames): proto.SecretNames {
  return { registries: [...registries], secrets: [...secrets], sshKeys: [...sshKeys] };
}

function toAttempt({ started, ended, seconds, error, ...attempt }: model.Attempt): proto.Attempt {
  return {
    ...attempt,
    started: new Date(started),
    ended: ended === null ? undefined : new Date(ended),
    seconds: seconds ?? undefined,
    code: error?.code,
    message: error?.message,
  };
}

function toContext(summary: model.ContextSummary | null): proto.ContextSummary | undefined {
  return summary ? { ...summary, warnings: [...summary.warnings] } : undefined;
}

export function toStep({ name, state, started, ended }: Step): ProtoStep {
  const time = (at: string | null): Date | undefined => (at === null ? undefined : new Date(at));
  return { name, state, started: time(started), ended: time(ended) };
}

export function toArtifact(artifact: model.Artifact): proto.Artifact {
  return { ...artifact, format: outputTypes[artifact.format] };
}

/** A watched item as the part of an answer; WatchBuild and Build have both kinds. */
export function toPart(
  item: WatchItem,
): { $case: 'log'; value: LogChunk } | { $case: 'event'; value: ProtoEvent } {
  if (item.kind === 'log') {
    const { attempt, offset: start, data } = item;
    return { $case: 'log', value: { attempt, offset: start, data } };
  }
  const { offset, event } = item;
  return { $case: 'event', value: { offset, at: new Date(event.at), kind: toEventKind(event) } };
}

function toEventKind(event: BuildEvent): ProtoEvent['kind'] {
  switch (event.type) {
    case 'queued':
      return { $case: 'queued', value: { place: event.place } };
    case 'state':
      return { $case: 'state', value: states[event.state] };
    case 'attempt': {
      const { attempt, code, message } = event;
      return { $case: 'attempt', value: { attempt, code, message } };
    }
    case 'paused':
      return { $case: 'paused', value: { message: event.message } };
    case 'warning':
      return { $case: 'warning', value: { message: event.message } };
    case 'status':
      return { $case: 'status', value: { json: JSON.stringify(event.status) } };
    case 'egress':
      return { $case: 'egress', value: toDestination(event.destination) };
    case 'artifact':
      return { $case: 'artifact', value: toArtifact(event.artifact) };
    case 'pushed':
      return { $case: 'pushed', value: { ...event.image } };
    case 'step':
      return { $case: 'step', value: toStep(event.step) };
    case 'verdict':
      return { $case: 'verdict', value: toVerdict(event.verdict) };
  }
}

function toProtoSpec(spec: BuildSpec): proto.BuildSpec {
  return {
    ...spec,
    buildArgs: toPairs(spec.buildArgs),
    labels: toPairs(spec.labels),
    buildContexts: toPairs(spec.buildContexts),
    output: proto.Output.OUTPUT_UNSPECIFIED,
    outputs: spec.outputs.map(toOutputSpec),
    sbom: spec.sbom && { generator: spec.sbom.generator },
    network: networks[spec.network],
    retry: retries[spec.retry],
  };
}

function toVm({ id, accelerator, network }: NonNullable<model.BuildRecord['vm']>): proto.Vm {
  return { id, accelerator: accelerators[accelerator], network: stepNetworks[network] };
}

export function toVerdict({ state, exitCode, code, failureClass, message }: model.Verdict): proto.Verdict {
  return {
    ...{ state: states[state], message },
    exitCode: exitCode ?? undefined,
    code: code ?? undefined,
    failureClass: failureClass ?? undefined,
  };
}

function toTimes(times: model.BuildRecord['times']): proto.BuildTimes {
  const at = (phase: model.Phase): Date | undefined => {
    const time = times[phase];
    return time === null ? undefined : new Date(time);
  };
  return {
    queued: at('queued'),
    leased: at('leased'),
    contextReady: at('contextReady'),
    buildFinished: at('buildFinished'),
    finished: at('finished'),
  };
}

function toDestination(destination: model.EgressDestination): proto.EgressDestination {
  return {
    ...destination,
    name: destination.name ?? undefined,
    address: destination.address ?? undefined,
    port: destination.port ?? undefined,
    announced: destination.announced ?? undefined,
    reason: destination.reason ?? undefined,
  };
}

export function toPairs(record: Readonly<Record<string, string>>): proto.NameValue[] {
  return Object.entries(record).map(([name, value]) => ({ name, value }));
}
