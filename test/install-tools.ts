import { mkdir } from 'node:fs/promises';
import { holdLock } from '../src/host/hold-lock.ts';
import { ensureHostTools, type HostTool } from '../src/host/host-tools.ts';

const cache = '/var/cache/kiln';

/** Installs the real programs that tests speak to; test files that run at once take turns. */
export async function installTools(tools: readonly HostTool[]): Promise<void> {
  const { signal } = new AbortController();
  await mkdir(cache, { recursive: true });
  await using _lock = await holdLock(`${cache}/packages.lock`, { onWait: () => undefined, signal });
  await ensureHostTools(tools, {
    asRoot: true,
    path: process.env['PATH'] ?? '',
    progress: (line) => console.log(line),
    logDirectory: `${cache}/logs`,
    signal,
  });
}
