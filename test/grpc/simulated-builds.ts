import type { BuildRecord } from '../../src/model/build.ts';
import type { BuildRequest, Builds, Readiness } from '../../src/model/builds.ts';
import { KilnError } from '../../src/model/error.ts';
import type { WatchItem } from '../../src/model/event.ts';
import { parseSpec } from '../../src/model/spec.ts';

export const digest = `sha256:${'a'.repeat(64)}` as const;

/** A record as the service would keep it, with every part set. */
export const record: BuildRecord = {
  id: '019a0000-0000-7000-8000-000000000001',
  state: 'running',
  spec: parseSpec({ buildArgs: { A: '1' }, tags: ['demo:latest'], output: 'oci', timeoutSeconds: 60 }),
  verdict: null,
  times: {
    queued: '2026-11-23T10:00:00.000Z',
    leased: '2026-11-23T10:00:01.500Z',
    contextReady: null,
    buildFinished: null,
    finished: null,
  },
  vm: { id: 'vm-1', accelerator: 'tcg' },
  entry: { name: 'buildkit-v0.20.2', imageDigest: digest, versions: { buildkit: 'v0.20.2', runc: '1.2.5' } },
  context: { digest, size: 1024, entries: 2, warnings: ['a and A differ only in case'] },
  imageDigest: digest,
  artifact: { format: 'oci', digest, size: 11 },
  egress: [{ host: 'example.org', port: 443, address: null, allowed: false, connections: 2 }],
};

export const items: readonly WatchItem[] = [
  {
    kind: 'event',
    offset: 40,
    event: { at: '2026-11-23T10:00:00.000Z', type: 'queued', place: 1 },
  },
  { kind: 'log', offset: 0, data: Buffer.from('#1 [internal] load\n') },
  {
    kind: 'event',
    offset: 90,
    event: {
      at: '2026-11-23T10:00:02.000Z',
      type: 'verdict',
      verdict: { state: 'failed', exitCode: 1, code: null, message: 'The build failed.' },
    },
  },
];

export type SimulatedBuilds = Builds & {
  /** What was staged, byte for byte, one buffer a context. */
  readonly staged: Buffer[];
  readonly started: BuildRequest[];
  readonly cancelled: string[];
  /** Resolves at the first cancel. */
  readonly firstCancel: Promise<string>;
};

/** Use-cases held in memory, for what the edge makes of them; `overrides` replaces single ones. */
export function simulateBuilds(overrides: Partial<Builds> = {}): SimulatedBuilds {
  const { promise: firstCancel, resolve } = Promise.withResolvers<string>();
  const simulated: SimulatedBuilds = {
    staged: [],
    started: [],
    cancelled: [],
    firstCancel,
    async stageContext(upload) {
      const chunks: Buffer[] = [];
      for await (const chunk of upload.bytes) chunks.push(chunk);
      simulated.staged.push(Buffer.concat(chunks));
      const dispose = { [Symbol.asyncDispose]: async () => undefined };
      const summary = { digest, size: 1024, entries: 1, warnings: [] };
      return { summary, seal: async () => ({ path: '/nowhere', summary, ...dispose }), ...dispose };
    },
    async start(request) {
      simulated.started.push(request);
      return record;
    },
    async get(id) {
      if (id !== record.id) throw new KilnError('NOT_FOUND', 'There is no such build.');
      return record;
    },
    list: async () => [record],
    async cancel(id, reason) {
      simulated.cancelled.push(id);
      resolve(reason);
      return { ...record, state: 'cancelled' };
    },
    readLog: async () => iterate([Buffer.from('log')]),
    watch: async () => iterate(items),
    async artifact() {
      throw new KilnError('NOT_READY', 'The build is not finished.');
    },
    readiness: () => readiness(true),
    ...overrides,
  };
  return simulated;
}

export function readiness(ready: boolean): Readiness {
  return {
    ready,
    reason: ready ? null : 'no VM yet',
    draining: false,
    entry: 'buildkit-v0.20.2',
    accelerator: { name: 'tcg', note: null },
    pool: { warm: 1, leased: 0, starting: 0, size: 1, max: 1 },
    queue: { waiting: 0, limit: 10 },
  };
}

/** Waits for ever, until the signal aborts: a build that goes on. */
export async function* endless(signal: AbortSignal): AsyncGenerator<WatchItem> {
  yield { kind: 'log', offset: 0, data: Buffer.from('#1 waiting\n') };
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}

async function* iterate<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
