import { stageContext } from '../../src/context/stage-context.ts';
import type { BuildRecord, Verdict } from '../../src/model/build.ts';
import type { BuildRequest, Builds, Readiness } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import type { BuildEvent, WatchItem } from '../../src/model/event.ts';
import { parseSpec } from '../../src/model/spec.ts';

export const digest = `sha256:${'a'.repeat(64)}` as const;
export const at = '2026-11-23T10:00:00.000Z';

/** A record with every part set. */
export const record: BuildRecord = {
  id: '019a0000-0000-7000-8000-000000000001',
  state: 'running',
  spec: parseSpec({ buildArgs: { A: '1' }, tags: ['demo:latest'], output: 'oci', timeoutSeconds: 60 }),
  verdict: null,
  times: { queued: at, leased: at, contextReady: null, buildFinished: null, finished: null },
  vm: { id: 'vm-1', accelerator: 'tcg' },
  entry: { name: 'buildkit-v0.20.2', imageDigest: digest, versions: { buildkit: 'v0.20.2' } },
  context: { digest, size: 1024, entries: 2, warnings: ['a and A differ only in case'] },
  imageDigest: digest,
  artifact: { format: 'oci', digest, size: 11 },
  egress: [{ host: 'example.org', port: 443, address: null, allowed: false, connections: 2 }],
};

export const succeeded: Verdict = {
  state: 'succeeded',
  exitCode: 0,
  code: null,
  message: 'The build succeeded.',
};
export const failed: Verdict = {
  state: 'failed',
  exitCode: 1,
  code: null,
  message: 'buildctl exited with 1.',
};

export function event(event: Record<string, unknown> & Pick<BuildEvent, 'type'>, offset = 1): WatchItem {
  return { kind: 'event', offset, event: { at, ...event } as BuildEvent };
}

export function log(data: string | Buffer): WatchItem {
  return { kind: 'log', offset: 0, data: Buffer.from(data) };
}

export const verdict = (verdict: Verdict): WatchItem => event({ type: 'verdict', verdict }, 300);

/** A build as it is seen by one event of every kind. */
export const everyEvent: readonly WatchItem[] = [
  event({ type: 'state', state: 'queued' }, 50),
  event({ type: 'warning', message: 'a and A differ only in case' }, 100),
  event({ type: 'queued', place: 2 }, 120),
  event({ type: 'state', state: 'running' }, 150),
  log('#1 [internal] load\n'),
  event({ type: 'status', status: { vertexes: [{ name: '[internal] load' }] } }, 200),
  event(
    {
      type: 'egress',
      destination: { host: 'example.org', port: 443, address: null, allowed: false, connections: 1 },
    },
    250,
  ),
  event({ type: 'artifact', artifact: { format: 'oci', digest, size: 11 } }, 280),
  log('#2 DONE 0.1s\n'),
  verdict(succeeded),
];

export type SimulatedBuilds = Builds & {
  readonly started: BuildRequest[];
  /** `id: reason` of each cancel. */
  readonly cancelled: string[];
  /** Resolves at the first cancel. */
  readonly firstCancel: Promise<void>;
};

type Script = readonly WatchItem[] | ((signal: AbortSignal) => AsyncIterable<WatchItem>);

/**
 * Use-cases held in memory, for what the edge makes of them; contexts go through the real guard into `staging`.
 * `script` is what every build says, `overrides` replaces single use-cases.
 */
export function simulateBuilds(options: {
  staging: string;
  script?: Script;
  maxUploadBytes?: number;
  overrides?: Partial<Builds>;
}): SimulatedBuilds {
  const { staging, script = everyEvent, maxUploadBytes = 1e9, overrides = {} } = options;
  const { promise: firstCancel, resolve } = Promise.withResolvers<void>();
  const limits = { maxBytes: 4e9, maxEntries: 1000, maxUploadBytes };
  const find = (id: string): void => {
    if (id !== record.id) throw new KilnError('NOT_FOUND', 'There is no build with this id.');
  };
  const simulated: SimulatedBuilds = {
    started: [],
    cancelled: [],
    firstCancel,
    stageContext: (upload, signal) =>
      stageContext(upload, { directory: staging, limits, minFreeBytes: 0, signal }),
    async start(request) {
      simulated.started.push(request);
      return record;
    },
    async get(id) {
      find(id);
      return record;
    },
    list: async () => [record],
    async cancel(id, reason) {
      find(id);
      simulated.cancelled.push(`${id}: ${reason}`);
      resolve();
      return { ...record, state: 'cancelled' };
    },
    async readLog(id) {
      find(id);
      return (async function* () {
        yield Buffer.from('#1 [internal] load\n');
      })();
    },
    async watch(id, { eventOffset, signal }) {
      find(id);
      return typeof script === 'function' ? script(signal) : later(script, eventOffset);
    },
    async artifact() {
      throw new KilnError('NOT_READY', 'The build has not ended yet.');
    },
    readiness: () => readiness(true),
    ...overrides,
  };
  return simulated;
}

export function readiness(ready: boolean): Readiness {
  return {
    ready,
    reason: ready ? null : 'The first VM is starting.',
    draining: false,
    entry: 'buildkit-v0.20.2',
    accelerator: { name: 'tcg', note: 'no KVM here' },
    pool: { warm: 1, leased: 0, starting: 0, size: 1, max: 1 },
    queue: { waiting: 0, limit: 10 },
  };
}

/** Says `items` and then nothing, until the signal aborts: a build that goes on. */
export async function* endless(items: readonly WatchItem[], signal: AbortSignal): AsyncGenerator<WatchItem> {
  yield* items;
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  signal.throwIfAborted();
}

async function* later(items: readonly WatchItem[], offset: number): AsyncGenerator<WatchItem> {
  for (const item of items) if (item.kind === 'log' || item.offset > offset) yield item;
}
