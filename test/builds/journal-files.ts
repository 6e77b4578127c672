import assert from 'node:assert/strict';
import type { Journal } from '../../src/builds/journal.ts';
import type { BuildRecord } from '../../src/model/build.ts';
import type { BuildEvent } from '../../src/model/event.ts';

/** What a build said that has ended. */

export async function readLogs({ files }: Journal): Promise<string[]> {
  const { signal } = new AbortController();
  const logs = [...files.earlier, files.log].map((log) =>
    Array.fromAsync(log.read({ offset: 0, follow: true, signal })),
  );
  return (await Promise.all(logs)).map((chunks) => Buffer.concat(chunks).toString());
}

export async function readEvents({ files }: Journal): Promise<BuildEvent[]> {
  const signal = new AbortController().signal;
  const chunks = await Array.fromAsync(files.events.read({ offset: 0, follow: true, signal }));
  const lines = Buffer.concat(chunks).toString().trimEnd().split('\n');
  return lines.map((line): BuildEvent => JSON.parse(line));
}

/** One for each VM; all but the last were lost. */
export function assertAttempts(
  { attempts }: BuildRecord,
  { vms, paused = false }: { vms: number; paused?: boolean },
): void {
  assert.deepEqual(
    attempts.map(({ number, ended, error }) => [number, ended !== null, error?.code ?? null]),
    Array.from({ length: vms }, (_, index) => [index + 1, !paused, index + 1 < vms ? 'INFRA' : null]),
  );
}
