import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BuildEvent } from '../../src/model/event.ts';

export type TemporaryFolder = AsyncDisposable & { readonly path: string };

export async function createFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'kiln-logs-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

export const at = '2026-01-02T03:04:05.678Z';

export const verdictEvent: BuildEvent = {
  at,
  type: 'verdict',
  verdict: {
    state: 'succeeded',
    exitCode: 0,
    code: null,
    failureClass: null,
    message: 'The build succeeded.',
  },
};

export function warningEvent(message: string): BuildEvent {
  return { at, type: 'warning', message };
}

/** Resolves with what the iterator gives next; fails the test where it has ended. */
export async function next<T>(iterator: AsyncIterator<T>): Promise<T> {
  const result = await iterator.next();
  if (result.done) throw new Error('it has ended');
  return result.value;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
