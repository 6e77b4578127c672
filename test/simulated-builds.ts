import { attendBuild } from '../src/builds/attend-build.ts';
import { checkWithoutContext, sealRequest } from '../src/builds/check-request.ts';
import { Receptions } from '../src/builds/receptions.ts';
import { verdictOfError } from '../src/builds/verdict.ts';
import { openStaging } from '../src/context/context-staging.ts';
import { type BuildRecord, type EgressDestination, isTerminal, type Verdict } from '../src/model/build.ts';
import type { BuildRequest, Builds } from '../src/model/builds.ts';
import { type Caller, requireRole } from '../src/model/caller.ts';
import { KilnError } from '../src/model/error.ts';
import type { BuildEvent, EventItem, WatchItem } from '../src/model/event.ts';
import { parseSpec } from '../src/model/spec.ts';
import { collectContexts } from './collect-context.ts';
import { attempts } from './simulated-attempts.ts';
import { findEntry } from './simulated-entries.ts';
import { simulateMatrix } from './simulated-matrix.ts';
import { catalog, readiness } from './simulated-service.ts';

export const digest = `sha256:${'a'.repeat(64)}` as const;
export const at = '2026-11-23T10:00:00.000Z';

const refused: EgressDestination = {
  ...{ name: 'db.lan', address: '10.0.0.5', port: 5432, announced: null, allowed: false },
  ...{ reason: 'not-public', connections: 1, bytesIn: 0, bytesOut: 0 },
};

/** A record with every part set, before its build has ended. */
export const record: BuildRecord = {
  id: '019a0000-0000-7000-8000-000000000001',
  requestId: 'request-1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tenant: 'default',
  matrix: null,
  state: 'running',
  spec: parseSpec({
    buildArgs: { A: '1' },
    tags: ['demo:latest'],
    outputs: [{ type: 'oci' }],
    timeoutSeconds: 60,
  }),
  secrets: { registries: ['registry.example.org'], secrets: ['npm'], sshKeys: ['default'] },
  verdict: null,
  times: {
    ...{ queued: at, leased: '2026-11-23T10:00:01.500Z' },
    ...{ contextReady: null, buildFinished: null, finished: null },
  },
  vm: { id: 'vm-1', accelerator: 'tcg', network: 'vm' },
  attempts,
  entry: { name: 'buildkit-v0.20.2', imageDigest: digest, versions: { buildkit: 'v0.20.2', runc: '1.2.5' } },
  context: { digest, size: 1024, entries: 2, warnings: ['a and A differ only in case'] },
  namedContexts: [{ name: 'lib', kind: 'folder', archive: { digest, size: 512, entries: 1, warnings: [] } }],
  imageDigest: digest,
  artifact: { format: 'oci', digest, size: 11 },
  ...{ pushBegun: true, pushed: [{ reference: 'registry.example.org/demo:1', digest }] },
  egress: [{ ...refused, connections: 2 }],
  warnings: ['The frontend is not used.'],
};

export const succeeded: Verdict = {
  ...{ state: 'succeeded', exitCode: 0, code: null, failureClass: null },
  message: 'The build succeeded.',
};
export const failed: Verdict = {
  ...{ state: 'failed', exitCode: 1, code: null, failureClass: 'USER_ERROR' },
  message: 'buildctl exited with 1.',
};

export function event(event: Record<string, unknown> & Pick<BuildEvent, 'type'>, offset = 1): EventItem {
  return { kind: 'event', offset, event: { at, ...event } as BuildEvent };
}

/** Its offset is set where it is watched. */
export function log(data: string | Buffer): WatchItem {
  return { kind: 'log', attempt: 1, offset: 0, data: Buffer.from(data) };
}

export const verdict = (verdict: Verdict): EventItem => event({ type: 'verdict', verdict }, 300);

/** A build as it is seen by one event of every kind. */
export const everyEvent: readonly WatchItem[] = [
  event({ type: 'state', state: 'queued' }, 50),
  event({ type: 'warning', message: 'a and A differ only in case' }, 100),
  event({ type: 'queued', place: 2 }, 120),
  event({ type: 'state', state: 'running' }, 150),
  log('#1 [internal] load\n'),
  event({ type: 'status', status: { vertexes: [{ name: '[internal] load' }] } }, 200),
  event({ type: 'egress', destination: refused }, 250),
  event({ type: 'artifact', artifact: { format: 'oci', digest, size: 11 } }, 280),
  event({ type: 'pushed', image: { reference: 'registry.example.org/demo:1', digest } }, 290),
  log('#2 DONE 0.1s\n'),
  verdict(succeeded),
];

/** What a build says: all at once, or as it comes, when nothing but the verdict ends the build. */
export type Script = readonly WatchItem[] | ((signal: AbortSignal) => AsyncIterable<WatchItem>);

export type SimulatedBuilds = Builds & {
  readonly started: BuildRequest[];
  /** `id: reason` of each build that was cancelled before it had ended. */
  readonly cancelled: string[];
  /** Resolves at the first of them. */
  readonly firstCancel: Promise<void>;
  /** Archives that were taken without `staging`, byte for byte. */
  readonly staged: Buffer[];
};

export type SimulatedOptions = {
  readonly script?: Script;
  /** A folder that contexts are staged in by the real guard; without it they may be any bytes. */
  readonly staging?: string;
  readonly maxUploadBytes?: number;
  /** Replace single use-cases. */
  readonly overrides?: Partial<Builds>;
};

/** Use-cases without VMs, for what an edge makes of them. There is one build, `record`, from the beginning. */
export function simulateBuilds(options: SimulatedOptions = {}): SimulatedBuilds {
  const build = new SimulatedBuild(options.script ?? everyEvent);
  const rules = {
    ...{ policy: { customFrontends: true }, builtinFrontend: false },
    ...{ maxTimeoutSeconds: 86_400, findEntry },
  };
  const logger = { info() {}, warn() {}, error() {} };
  const receptions = new Receptions();
  const { promise: firstCancel, resolve } = Promise.withResolvers<void>();
  const simulated: SimulatedBuilds = {
    started: [],
    cancelled: [],
    firstCancel,
    staged: [],
    receive(caller, progress) {
      requireRole(caller, 'build');
      return receptions.enter(progress);
    },
    check(caller, request) {
      requireRole(caller, 'build');
      checkWithoutContext(request, rules);
    },
    async stageContexts(caller, signal) {
      requireRole(caller, 'build');
      return options.staging === undefined
        ? collectContexts(async (_name, { bytes }) => {
            simulated.staged.push(Buffer.concat(await Array.fromAsync(bytes)));
          })
        : openStaging({
            directory: options.staging,
            limits: { maxBytes: 4e9, maxEntries: 1000, maxUploadBytes: options.maxUploadBytes ?? 1e9 },
            ...{ minFreeBytes: 0, signal },
          });
    },
    async start(caller, request) {
      await using undo = new AsyncDisposableStack();
      undo.use(request.context);
      requireRole(caller, 'build');
      undo.use((await sealRequest(request, rules)).context);
      undo.move();
      simulated.started.push(request);
      return record;
    },
    ...simulateMatrix({ record: () => build.record, rules, simulated: () => simulated }),
    attend: (caller, id) =>
      attendBuild(caller, id, { cancel: (...args) => simulated.cancel(...args), logger }),
    get: async (caller, id) => build.find(caller, id),
    list: async ({ tenant }) => ({ builds: tenant === record.tenant ? [build.record] : [], more: false }),
    async cancel(caller, id, reason) {
      requireRole(caller, 'build');
      const { state } = build.find(caller, id);
      if (isTerminal(state)) throw new KilnError('BUILD_TERMINAL', `It has ended already: ${state}.`);
      build.end(verdictOfError(new KilnError('CANCELLED', reason)));
      simulated.cancelled.push(`${id}: ${reason}`);
      resolve();
      return build.record;
    },
    async readLog(caller, id, { offset, signal }) {
      build.find(caller, id);
      return onlyLog(build.watch({ logOffset: offset, eventOffset: 0, signal }));
    },
    async watch(caller, id, { logOffset, eventOffset, signal }) {
      build.find(caller, id);
      return build.watch({ logOffset, eventOffset, signal });
    },
    async events(caller, id, { offset, signal }) {
      build.find(caller, id);
      return onlyEvents(build.watch({ logOffset: 0, eventOffset: offset, signal }));
    },
    async artifact(caller, id) {
      const { state } = build.find(caller, id);
      throw isTerminal(state)
        ? new KilnError('NOT_FOUND', 'The build kept no artifact.')
        : new KilnError('NOT_READY', 'The build has not ended yet.');
    },
    catalog: async () => catalog,
    readiness: () => readiness(true),
    ...options.overrides,
  };
  return simulated;
}

/** Says `items` and then nothing, until the signal aborts: a build that goes on. */
export async function* endless(items: readonly WatchItem[], signal: AbortSignal): AsyncGenerator<WatchItem> {
  yield* items;
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  signal.throwIfAborted();
}

type Offsets = { readonly logOffset: number; readonly eventOffset: number; readonly signal: AbortSignal };

class SimulatedBuild {
  record: BuildRecord = record;
  readonly #script: Script;
  /** Aborts, with the verdict as its reason, when the build ends before its script. */
  readonly #ended = new AbortController();

  constructor(script: Script) {
    this.#script = script;
    const last = typeof script === 'function' ? undefined : script.at(-1);
    if (last?.kind === 'event' && last.event.type === 'verdict') this.#keep(last.event.verdict);
  }

  find(caller: Caller, id: string): BuildRecord {
    if (id === this.record.id && caller.tenant === this.record.tenant) return this.record;
    throw new KilnError('NOT_FOUND', 'There is no build with this id.');
  }

  end(verdict: Verdict): void {
    this.#keep(verdict);
    this.#ended.abort(verdict);
  }

  watch({ logOffset, eventOffset, signal }: Offsets): AsyncGenerator<WatchItem, void> {
    if (typeof this.#script === 'function') return this.#follow(this.#script, signal);
    const items = placeLog(this.#script);
    refuseOffsets(items, { logOffset, eventOffset });
    return iterate(items.flatMap((item) => skipTo(item, { logOffset, eventOffset })));
  }

  async *#follow(
    script: (signal: AbortSignal) => AsyncIterable<WatchItem>,
    signal: AbortSignal,
  ): AsyncGenerator<WatchItem, void> {
    try {
      for await (const item of script(AbortSignal.any([signal, this.#ended.signal]))) {
        if (item.kind === 'event' && item.event.type === 'verdict') this.#keep(item.event.verdict);
        yield item;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#ended.signal.aborted) throw error;
      yield verdict(this.#ended.signal.reason);
    }
  }

  #keep(verdict: Verdict): void {
    const times = { ...this.record.times, finished: '2026-11-23T10:00:09.600Z' };
    this.record = { ...this.record, state: verdict.state, verdict, times };
  }
}

/** Each piece of the log at its place. */
function placeLog(items: readonly WatchItem[]): WatchItem[] {
  let offset = 0;
  return items.map((item) => {
    if (item.kind === 'event') return item;
    const placed = { ...item, offset };
    offset += item.data.length;
    return placed;
  });
}

function refuseOffsets(
  items: readonly WatchItem[],
  { logOffset, eventOffset }: Omit<Offsets, 'signal'>,
): void {
  const ends = items.flatMap((item) => (item.kind === 'event' ? [item.offset] : []));
  const logBytes = items.reduce((sum, item) => sum + (item.kind === 'log' ? item.data.length : 0), 0);
  if (logOffset > logBytes || eventOffset > (ends.at(-1) ?? 0))
    throw new KilnError('OUT_OF_RANGE', 'The offset is beyond the end.');
  if (eventOffset !== 0 && !ends.includes(eventOffset))
    throw new KilnError('OFFSET_INVALID', 'No event starts at this offset.');
}

function skipTo(item: WatchItem, { logOffset, eventOffset }: Omit<Offsets, 'signal'>): WatchItem[] {
  if (item.kind === 'event') return item.offset > eventOffset ? [item] : [];
  const skipped = Math.max(0, logOffset - item.offset);
  if (skipped >= item.data.length) return [];
  return [{ ...item, offset: item.offset + skipped, data: item.data.subarray(skipped) }];
}

async function* iterate<T>(values: readonly T[]): AsyncGenerator<T, void> {
  yield* values;
}

async function* onlyLog(items: AsyncIterable<WatchItem>): AsyncGenerator<Buffer, void> {
  for await (const item of items) if (item.kind === 'log') yield item.data;
}

async function* onlyEvents(items: AsyncIterable<WatchItem>): AsyncGenerator<EventItem, void> {
  for await (const item of items) if (item.kind === 'event') yield item;
}
