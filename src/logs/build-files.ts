import { mkdir, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { removeQuietly } from '../lib/files.ts';
import { splitLines } from '../lib/lines.ts';
import { mergeIterables } from '../lib/merge.ts';
import { readEvent } from '../model/earlier-forms.ts';
import { KilnError } from '../model/error.ts';
import type { BuildEvent, EventItem, WatchItem } from '../model/event.ts';
import { AppendFile, type ReadRange } from './append-file.ts';

/** Twice the longest line of a trace that is taken. */
const maxEventBytes = 16 * 1024 * 1024;

/** Longer than any verdict, although its message may quote the last lines of a guest's output. */
const maxVerdictBytes = 64 * 1024;

const lineFeed = 10;

/** What one build says: its plain log and its events, each an append-only file in the build's own folder. */
export type BuildFiles = {
  readonly log: AppendFile;
  readonly events: AppendFile;
};

/** Makes the folder and the files, or leaves nothing. */
export async function createBuildFiles(directory: string): Promise<BuildFiles> {
  await mkdir(directory, { mode: 0o700 });
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(directory));
  const log = await AppendFile.create(logPath(directory));
  undo.defer(() => log.end().catch(() => undefined));
  const events = await AppendFile.create(eventsPath(directory));
  undo.move();
  return { log, events };
}

export async function openBuildFiles(directory: string): Promise<BuildFiles> {
  const [log, events] = await Promise.all([
    AppendFile.openEnded(logPath(directory)),
    AppendFile.openEnded(eventsPath(directory)),
  ]);
  return { log, events };
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

export type WatchRange = {
  readonly logOffset: number;
  readonly eventOffset: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
};

/**
 * Both files as one stream, interleaved as they grow. The verdict, where there is one, is the last item: after every byte
 * of the log. Leaving the loop releases both.
 * @throws KilnError OUT_OF_RANGE, OFFSET_INVALID for an event offset within an event
 */
export async function watchBuildFiles(
  { log, events }: BuildFiles,
  range: WatchRange,
): Promise<AsyncIterable<WatchItem>> {
  const { follow, logOffset, eventOffset } = range;
  const left = new AbortController();
  const signal = AbortSignal.any([range.signal, left.signal]);
  // One right after the other: where the events hold the verdict by now, the log is whole by now.
  const chunks = log.read({ offset: logOffset, follow, signal });
  const lines = events.read({ offset: eventOffset, follow, signal });
  await refuseWithinEvent(events, eventOffset, signal);
  return verdictLast([readLog(chunks, logOffset), readEvents(lines, eventOffset)], left);
}

/**
 * The events alone; the log is not read. The verdict, where there is one, is the last.
 * @throws KilnError OUT_OF_RANGE, OFFSET_INVALID for an offset within an event
 */
export async function readBuildEvents(
  events: AppendFile,
  range: ReadRange,
): Promise<AsyncGenerator<EventItem, void>> {
  const lines = events.read(range);
  await refuseWithinEvent(events, range.offset, range.signal);
  return readEvents(lines, range.offset);
}

async function* verdictLast(
  sources: readonly AsyncIterable<WatchItem>[],
  left: AbortController,
): AsyncGenerator<WatchItem> {
  let verdict: WatchItem | null = null;
  try {
    for await (const item of mergeIterables(sources)) {
      if (item.kind === 'event' && item.event.type === 'verdict') verdict = item;
      else yield item;
    }
    if (verdict) yield verdict;
  } finally {
    // A source that waits for its file to grow would go on waiting.
    left.abort();
  }
}

async function* readLog(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<WatchItem> {
  for await (const data of chunks) {
    yield { kind: 'log', offset, data };
    offset += data.length;
  }
}

async function* readEvents(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<EventItem, void> {
  for await (const line of splitLines(chunks, maxEventBytes)) {
    offset += line.length + 1;
    yield { kind: 'event', offset, event: parseEvent(line) };
  }
}

function parseEvent(line: Buffer): BuildEvent {
  try {
    return readEvent(line.toString('utf8'));
  } catch (error) {
    throw new KilnError('INTERNAL', 'The events of this build are damaged.', { cause: error });
  }
}

async function refuseWithinEvent(events: AppendFile, offset: number, signal: AbortSignal): Promise<void> {
  if (offset === 0) return;
  for await (const chunk of events.read({ offset: offset - 1, follow: false, signal })) {
    if (chunk[0] === lineFeed) return;
    break;
  }
  throw new KilnError('OFFSET_INVALID', `No event starts at offset ${offset}; use one that was sent.`);
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

function logPath(directory: string): string {
  return join(directory, 'log');
}

function eventsPath(directory: string): string {
  return join(directory, 'events.ndjson');
}
