import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { type Artifact, type BuildRecord, terminalStates } from '../model/build.ts';
import type { Observer } from '../model/observer.ts';
import { stretchesOf } from '../model/stretches.ts';

/** How the service is at the moment, asked for whenever somebody reads the metrics. */
export type ServiceState = {
  readonly ready: boolean;
  /** VMs by entry and what they do. */
  readonly pools: ReadonlyMap<string, Readonly<Record<(typeof vmStates)[number], number>>>;
  /** The line, by entry. */
  readonly waits: ReadonlyMap<string, { readonly builds: number; readonly oldestSeconds: number }>;
  readonly operationsRunning: number;
};

/** What does not change while the service runs. */
export type ServiceFacts = {
  readonly version: string;
  readonly accelerator: string;
  readonly maxVms: number;
  readonly queueLimit: number;
};

export type Metrics = {
  /** Counts what it is told. */
  readonly observer: Observer;
  /**
   * Shows the service itself, once it is put together.
   * @param state Asked for at each read. It must not throw.
   */
  show(facts: ServiceFacts, state: () => ServiceState): void;
  /** All of them as Prometheus reads them. */
  read(): Promise<{ readonly type: string; readonly text: string }>;
};

const artifactFormats: readonly Artifact['format'][] = ['docker', 'oci', 'local'];
const vmStates = ['warm', 'frozen', 'leased', 'starting', 'ending'] as const;
/** Seconds: a warm VM is handed out in milliseconds, a line may take an hour. */
const waitBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
const workBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/**
 * The metrics of one service. Labels are of sets that its operator knows: archive entries, states, codes. What a caller says is never one.
 */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  return {
    observer: createCounters(registers),
    show: (facts, state) => describeService(registers, facts, state),
    read: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}

/** What is counted as it happens. */
function createCounters(registers: Registry[]): Observer {
  const counter = <Label extends string = never>(name: string, help: string, ...labelNames: Label[]) =>
    new Counter<Label>({ name, help, labelNames, registers });
  const leaseWait = new Histogram({
    name: 'kiln_lease_wait_seconds',
    help: 'How long builds waited for a VM, by entry; its count is that of leases.',
    labelNames: ['entry'],
    ...{ buckets: waitBuckets, registers },
  });
  const phases = new Histogram({
    name: 'kiln_build_phase_seconds',
    help: 'Time of ended builds, by entry and phase: queue, lease (the VM takes its context), run (buildctl), artifact (the VM ends, what it put out is kept), lost (an attempt that was no good).',
    labelNames: ['entry', 'phase'],
    ...{ buckets: workBuckets, registers },
  });
  const builds = counter(
    'kiln_builds_total',
    'Builds that ended, by entry, state and, where it did not succeed, failure class and code.',
    ...['entry', 'state', 'failure_class', 'code'],
  );
  const attempts = counter('kiln_build_attempts_total', 'Runs of ended builds in a VM, by entry.', 'entry');
  const retries = counter(
    'kiln_build_retries_total',
    'Attempts of ended builds that were no good, so that the build was run once more, by code.',
    'code',
  );
  const context = counter(
    'kiln_context_bytes_total',
    'Contexts of ended builds, named ones included, in bytes.',
  );
  const artifacts = counter(
    'kiln_artifact_bytes_total',
    'Artifacts that were kept, in bytes, by format.',
    'format',
  );
  const logs = counter('kiln_log_bytes_total', 'Plain logs of builds, in bytes.');
  const connections = counter(
    'kiln_egress_connections_total',
    'What ended builds wanted to connect to: reached, failed (allowed, and not reached) or refused by a rule of kiln.',
    'outcome',
  );
  const traffic = counter(
    'kiln_egress_bytes_total',
    'Bytes that ended builds received (in) and sent (out) over their connections.',
    'direction',
  );
  const operations = counter('kiln_operations_total', 'Operations on images that ended, by state.', 'state');
  // A rate is that of what was there before: of a series that begins with its first event, that one is missed.
  for (const outcome of ['reached', 'failed', 'refused']) connections.inc({ outcome }, 0);
  for (const direction of ['in', 'out']) traffic.inc({ direction }, 0);
  for (const format of artifactFormats) artifacts.inc({ format }, 0);
  for (const state of terminalStates) operations.inc({ state }, 0);
  retries.inc({ code: 'INFRA' }, 0);

  return {
    leased: (entry, seconds) => leaseWait.observe({ entry }, seconds),
    logged: (bytes) => logs.inc(bytes),
    buildEnded(record) {
      const entry = record.entry.name;
      const { code, failureClass } = record.verdict ?? {};
      builds.inc({ entry, state: record.state, failure_class: failureClass ?? '', code: code ?? '' });
      for (const { name, start, end } of stretchesOf(record))
        phases.observe({ entry, phase: name }, (end - start) / 1000);
      attempts.inc({ entry }, record.attempts.length);
      for (const { error } of record.attempts) if (error) retries.inc({ code: error.code });
      context.inc(contextBytes(record));
      if (record.artifact) artifacts.inc({ format: record.artifact.format }, record.artifact.size);
      for (const { allowed, reason, connections: times, bytesIn, bytesOut } of record.egress) {
        connections.inc({ outcome: !allowed ? 'refused' : reason ? 'failed' : 'reached' }, times);
        traffic.inc({ direction: 'in' }, bytesIn);
        traffic.inc({ direction: 'out' }, bytesOut);
      }
    },
    operationEnded: ({ state }) => operations.inc({ state }),
  };
}

function contextBytes({ context, namedContexts }: BuildRecord): number {
  return namedContexts.reduce((sum, { archive }) => sum + (archive?.size ?? 0), context?.size ?? 0);
}

/** What is looked at whenever somebody asks. */
function describeService(registers: Registry[], facts: ServiceFacts, state: () => ServiceState): void {
  const gauge = <Label extends string = never>(
    name: string,
    help: string,
    collect: (this: Gauge<Label>) => void,
    ...labelNames: Label[]
  ) => new Gauge<Label>({ name, help, labelNames, registers, collect });
  gauge(
    'kiln_info',
    'Always 1; what runs here, and on what its VMs run.',
    function () {
      this.set({ version: facts.version, accelerator: facts.accelerator }, 1);
    },
    ...['version', 'accelerator'],
  );
  gauge('kiln_ready', 'Whether a build that came now would get a VM: 1 or 0.', function () {
    this.set(state().ready ? 1 : 0);
  });
  gauge(
    'kiln_pool_vms',
    'VMs by entry and state: warm, frozen, leased, starting (being made or woken), ending (being destroyed).',
    function () {
      for (const [entry, pool] of state().pools)
        for (const one of vmStates) this.set({ entry, state: one }, pool[one]);
    },
    ...['entry', 'state'],
  );
  gauge('kiln_pool_vms_max', 'VMs of all entries that there may be at once (KILN_MAX_VMS).', function () {
    this.set(facts.maxVms);
  });
  gauge(
    'kiln_queue_builds',
    'Builds in the line, by entry; those whose VM is being made among them.',
    function () {
      for (const [entry, { builds }] of state().waits) this.set({ entry }, builds);
    },
    'entry',
  );
  gauge(
    'kiln_queue_oldest_seconds',
    'How long the first in line for an entry has waited; 0 where nobody does.',
    function () {
      for (const [entry, { oldestSeconds }] of state().waits) this.set({ entry }, oldestSeconds);
    },
    'entry',
  );
  gauge('kiln_queue_builds_max', 'Builds that may wait (KILN_QUEUE_LIMIT).', function () {
    this.set(facts.queueLimit);
  });
  gauge('kiln_operations_running', 'Operations on images that run now.', function () {
    this.set(state().operationsRunning);
  });
}
