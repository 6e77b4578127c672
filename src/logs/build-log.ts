import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { splitLines } from '../lib/lines.ts';
import { mergeIterables } from '../lib/merge.ts';
import type { BuildEvent, WatchItem } from '../model/event.ts';
import { AppendFile } from './append-file.ts';

/** BuildKit's trace holds whole log chunks; one event is bounded all the same. */
const maxEventBytes = 64 * 1024 * 1024;

/** What one build says: its plain log and its events, each an append-only file in the build's own folder. */
export type BuildLog = {
  readonly log: AppendFile;
  readonly events: AppendFile;
};

export async function createBuildLog(directory: string): Promise<BuildLog> {
  await mkdir(directory, { mode: 0o700 });
  const [log, events] = await Promise.all([
    AppendFile.create(join(directory, 'log')),
    AppendFile.create(join(directory, 'events.ndjson')),
  ]);
  return { log, events };
}

export async function openBuildLog(directory: string): Promise<BuildLog> {
  const [log, events] = await Promise.all([
    AppendFile.openEnded(join(directory, 'log')),
    AppendFile.openEnded(join(directory, 'events.ndjson')),
  ]);
  return { log, events };
}

export function appendEvent({ events }: BuildLog, event: BuildEvent): Promise<void> {
  return events.append(Buffer.from(`${JSON.stringify(event)}\n`));
}

export type WatchRange = {
  readonly logOffset: number;
  readonly eventOffset: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
};

/**
 * Both files as one stream, interleaved as they grow. The verdict, where there is one, is the last item: after every byte
 * of the log.
 */
export async function* watchBuildLog(
  { log, events }: BuildLog,
  range: WatchRange,
): AsyncGenerator<WatchItem> {
  const { follow, signal, logOffset, eventOffset } = range;
  let verdict: WatchItem | null = null;
  const bytes = readLog(log.read({ offset: logOffset, follow, signal }), logOffset);
  const happened = readEvents(events.read({ offset: eventOffset, follow, signal }), eventOffset);
  for await (const item of mergeIterables<WatchItem>([bytes, happened])) {
    if (item.kind === 'event' && item.event.type === 'verdict') verdict = item;
    else yield item;
  }
  if (verdict) yield verdict;
}

async function* readLog(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<WatchItem> {
  for await (const data of chunks) {
    yield { kind: 'log', offset, data };
    offset += data.length;
  }
}

async function* readEvents(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<WatchItem> {
  for await (const line of splitLines(chunks, maxEventBytes)) {
    offset += line.length + 1;
    const event = parseEvent(line);
    if (!event) continue;
    yield { kind: 'event', offset, event };
  }
}

/** We wrote the file, so each line is an event, but for one that was cut when the service was killed. */
function parseEvent(line: Buffer): BuildEvent | null {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return null;
  }
}
