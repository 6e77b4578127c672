import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Socket } from 'node:net';
import { basename } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { KilnError } from '../model/error.ts';
import { listenForQemu } from './folder-socket.ts';
import type { ProcessUser } from './launcher.ts';
import type { QmpClient } from './qmp.ts';

/**
 * Device state out of a template and into a clone. RAM stays out of the stream on both sides (x-ignore-shared): it is the
 * template's file. QEMU's sandbox forbids it to run a helper, so the state leaves through a socket and comes in as fd 3.
 */
const pollIntervalMs = 5;

/** Writes the state of a stopped machine to `file`, which lies in the folder that QEMU works in. */
export async function saveState(
  { qmp, user, file }: { qmp: QmpClient; user: ProcessUser; file: string },
  signal: AbortSignal,
): Promise<void> {
  const path = `${file}.sock`;
  await using listening = await listenForQemu({ path, user }, signal);
  const { server } = listening;
  const saved = once(server, 'connection', { signal }).then(async ([socket]: Socket[]) => {
    if (socket) await pipeline(socket, createWriteStream(file, { mode: 0o600 }), { signal });
  });
  // Awaited last: whatever fails before it speaks for it.
  saved.catch(() => undefined);
  await ignoreSharedRam(qmp, signal);
  await qmp.execute('migrate', { uri: `unix:${basename(path)}` }, signal);
  await waitUntil(signal, async () => {
    const status = statusOf(await qmp.execute('query-migrate', {}, signal));
    if (status === 'failed') throw new KilnError('INFRA', 'QEMU could not save the state of the template.');
    return status === 'completed';
  });
  await saved;
}

/** Loads the state at fd 3 into a machine started with `-incoming defer`, which stands still until `cont`. */
export async function loadState(qmp: QmpClient, signal: AbortSignal): Promise<void> {
  await ignoreSharedRam(qmp, signal);
  await qmp.execute('migrate-incoming', { uri: 'fd:3' }, signal);
  // A failed load ends QEMU, which rejects the query.
  await waitUntil(
    signal,
    async () => statusOf(await qmp.execute('query-status', {}, signal)) !== 'inmigrate',
  );
}

async function ignoreSharedRam(qmp: QmpClient, signal: AbortSignal): Promise<void> {
  const capabilities = [{ capability: 'x-ignore-shared', state: true }];
  await qmp.execute('migrate-set-capabilities', { capabilities }, signal);
}

async function waitUntil(signal: AbortSignal, condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(pollIntervalMs, undefined, { signal });
}

function statusOf(reply: unknown): unknown {
  return typeof reply === 'object' && reply !== null && 'status' in reply ? reply.status : undefined;
}
