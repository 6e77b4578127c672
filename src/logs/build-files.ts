import { mkdir, open, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, removeQuietly } from '../lib/files.ts';
import { readEvent } from '../model/earlier-forms.ts';
import { KilnError } from '../model/error.ts';
import type { BuildEvent } from '../model/event.ts';
import { AppendFile } from './append-file.ts';

/** Twice the longest line of a trace that is taken. */
export const maxEventBytes = 16 * 1024 * 1024;

/** Longer than any verdict, although its message may quote the last lines of a guest's output. */
const maxVerdictBytes = 64 * 1024;

export const lineFeed = 10;

/** What one build says: its plain log and its events, each an append-only file in the build's own folder. */
export type BuildFiles = {
  /** Of the last attempt. */
  readonly log: AppendFile;
  /** Of the attempts before it, in their order. None grows any more. */
  readonly earlier: readonly AppendFile[];
  readonly events: AppendFile;
};

/** Makes the folder and the files of a first attempt, or leaves nothing. */
export async function createBuildFiles(directory: string): Promise<BuildFiles> {
  await mkdir(directory, { mode: 0o700 });
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(directory));
  const log = await AppendFile.create(logPath(directory, 1));
  undo.defer(() => log.end().catch(() => undefined));
  const events = await AppendFile.create(eventsPath(directory));
  undo.move();
  return { log, earlier: [], events };
}

/**
 * What an earlier run of the service left of a build that goes on, to be written on. The log of this attempt begins anew; an event that
 * was half written is cut off.
 */
export async function reopenBuildFiles(directory: string, attempt: number): Promise<BuildFiles> {
  const earlier = await openLogs(directory, attempt - 1);
  await using undo = new AsyncDisposableStack();
  const log = await AppendFile.createAnew(logPath(directory, attempt));
  undo.defer(() => log.end().catch(() => undefined));
  const path = eventsPath(directory);
  await truncate(path, await bytesOfWholeLines(path));
  const events = await AppendFile.reopen(path);
  undo.move();
  return { log, earlier, events };
}

/** The files for one more attempt; the log of the one before grows no more. */
export async function addAttempt(
  directory: string,
  { log, earlier, events }: BuildFiles,
): Promise<BuildFiles> {
  await log.end();
  const logs = [...earlier, log];
  return { log: await AppendFile.createAnew(logPath(directory, logs.length + 1)), earlier: logs, events };
}

/** Of a build that nobody writes on. */
export async function openBuildFiles(directory: string): Promise<BuildFiles> {
  const logs = await openLogs(directory, Number.POSITIVE_INFINITY);
  const [log, ...earlier] = logs.toReversed();
  // Whoever looks for what is gone is told so by the file system.
  return {
    log: log ?? (await AppendFile.openEnded(logPath(directory, 1))),
    earlier: earlier.toReversed(),
    events: await openBuildEvents(directory),
  };
}

/** When something was last written of a build, in ms since 1970; null where its events are gone. */
export async function findLastWrite(directory: string): Promise<number | null> {
  let last: number | null = null;
  for (let path = eventsPath(directory), attempt = 1; await exists(path); attempt += 1) {
    last = Math.max(last ?? 0, (await stat(path)).mtimeMs);
    path = logPath(directory, attempt);
  }
  return last;
}

async function openLogs(directory: string, most: number): Promise<AppendFile[]> {
  const logs: AppendFile[] = [];
  while (logs.length < most && (await exists(logPath(directory, logs.length + 1))))
    logs.push(await AppendFile.openEnded(logPath(directory, logs.length + 1)));
  return logs;
}

/** The events of a build that has ended. */
export function openBuildEvents(directory: string): Promise<AppendFile> {
  return AppendFile.openEnded(eventsPath(directory));
}

/**
 * Ends what a run of the service left that died: an event it had half written is cut off, `event` is the last one. Events that
 * end with a verdict stay as they are.
 */
export async function endBuildFiles(directory: string, event: BuildEvent): Promise<void> {
  const path = eventsPath(directory);
  if (await endsWithVerdict(path)) return;
  await truncate(path, await bytesOfWholeLines(path));
  const events = await AppendFile.reopen(path);
  try {
    await appendEvent({ events }, event);
  } finally {
    await events.end();
  }
}

/** @throws KilnError STORAGE_FULL, INFRA for an event longer than readers take. */
export async function appendEvent({ events }: Pick<BuildFiles, 'events'>, event: BuildEvent): Promise<void> {
  const line = Buffer.from(`${JSON.stringify(event)}\n`);
  if (line.length > maxEventBytes) {
    throw new KilnError(
      'INFRA',
      `The build sent an event of ${line.length} bytes; ${maxEventBytes} are taken.`,
    );
  }
  await events.append(line);
}

export function parseEvent(line: Buffer): BuildEvent {
  try {
    return readEvent(line.toString('utf8'));
  } catch (error) {
    throw new KilnError('INTERNAL', 'The events of this build are damaged.', { cause: error });
  }
}

/** A verdict is short: the end of the file tells. */
async function endsWithVerdict(path: string): Promise<boolean> {
  await using handle = await open(path, 'r');
  const { size } = await handle.stat();
  const length = Math.min(size, maxVerdictBytes);
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
  const last = buffer.toString('utf8').split('\n').at(-2);
  try {
    return (
      last !== undefined && buffer.at(-1) === lineFeed && parseEvent(Buffer.from(last)).type === 'verdict'
    );
  } catch {
    return false;
  }
}

async function bytesOfWholeLines(path: string): Promise<number> {
  const file = await AppendFile.openEnded(path);
  let seen = 0;
  let whole = 0;
  for await (const chunk of file.read({ offset: 0, follow: false, signal: new AbortController().signal })) {
    const last = chunk.lastIndexOf(lineFeed);
    if (last >= 0) whole = seen + last + 1;
    seen += chunk.length;
  }
  return whole;
}

/** The first has no number: there were no others once. */
function logPath(directory: string, attempt: number): string {
  return join(directory, attempt === 1 ? 'log' : `log.${attempt}`);
}

function eventsPath(directory: string): string {
  return join(directory, 'events.ndjson');
}
