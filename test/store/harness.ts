import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuid } from 'uuid';
import type { BuildRecord, Verdict } from '../../src/model/build.ts';
import { parseSpec } from '../../src/model/spec.ts';
import { tied } from '../tied.ts';

export type TemporaryFolder = AsyncDisposable & { readonly path: string };

export async function createFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-store-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

export const verdict: Verdict = {
  state: 'interrupted',
  exitCode: null,
  code: 'INFRA',
  failureClass: 'INFRA',
  message: 'It stopped.',
};

/** Of a build that had no VM. */
export const nothingUsed = { seconds: 0, egress: [] };

export function queuedRecord(change: Partial<BuildRecord> = {}): BuildRecord {
  return {
    id: uuid(),
    ...{ requestId: null, traceparent: null },
    tenant: 'default',
    matrix: null,
    state: 'queued',
    spec: parseSpec({ buildArgs: { A: 'grüße 🙂', B: "'; DROP TABLE build; --" } }),
    secrets: { registries: [], secrets: [], sshKeys: [] },
    verdict: null,
    times: {
      queued: '2026-01-02T03:04:05.678Z',
      leased: null,
      contextReady: null,
      buildFinished: null,
      finished: null,
    },
    vm: null,
    attempts: [],
    entry: { name: 'buildkit-v0.20.2', imageDigest: 'sha256:00', versions: { buildkit: 'v0.20.2' } },
    context: { digest: 'sha256:11', size: 1024, entries: 2, warnings: ['a warning'] },
    namedContexts: [],
    imageDigest: null,
    artifact: null,
    pushBegun: false,
    pushed: [],
    egress: [],
    warnings: [],
    ...change,
  };
}

const moduleUrl = new URL('../../src/store/build-store.ts', import.meta.url).href;

/** Another process that has the store of a folder open, and lives until it is killed. */
export async function openElsewhere(directory: string, record: BuildRecord): Promise<AsyncDisposable> {
  const script = `
    import { openBuildStore } from ${JSON.stringify(moduleUrl)};
    const store = await openBuildStore(${JSON.stringify(directory)});
    await store.insert(${JSON.stringify(record)});
    console.log('open');
    setInterval(() => store, 1000);
  `;
  const child = spawn(...tied(process.execPath, ['--input-type=module', '--eval', script]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
