import { splitLines } from '../lib/lines.ts';
import { mergeIterables } from '../lib/merge.ts';
import { KilnError } from '../model/error.ts';
import type { EventItem, WatchItem } from '../model/event.ts';
import type { AppendFile, ReadRange } from './append-file.ts';
import { type BuildFiles, lineFeed, maxEventBytes, parseEvent } from './build-files.ts';

export type WatchRange = {
  /** Where the log begins; default: the first, or the only one where `logOffset` is not 0. */
  readonly attempt?: number | undefined;
  readonly logOffset: number;
  readonly eventOffset: number;
  readonly follow: boolean;
  readonly signal: AbortSignal;
};

/**
 * The log of one attempt, the last by default. An offset without an attempt is refused where there were several: it could be one of
 * another attempt's log, and what is read would be of two. @throws KilnError NOT_FOUND, OFFSET_INVALID
 */
export function logOfAttempt(
  files: BuildFiles,
  { attempt, offset }: { attempt?: number | undefined; offset: number },
): AppendFile {
  const logs = [...files.earlier, files.log];
  if (attempt === undefined && offset > 0 && logs.length > 1) {
    const message = `This build took ${logs.length} attempts, each with a log of its own; name the one that the offset is of (attempt=1 to ${logs.length}).`;
    throw new KilnError('OFFSET_INVALID', message);
  }
  const log = attempt === undefined ? files.log : logs[attempt - 1];
  if (log) return log;
  throw new KilnError('NOT_FOUND', `This build has no attempt ${attempt}; its last is ${logs.length}.`);
}

/**
 * Logs and events as one stream, interleaved as they grow. An event that begins another attempt comes after every byte of the log before
 * it, the verdict after every byte there is; where there is one, it is the last item. Leaving the loop releases all files.
 * @param current The files as they are by now: a build that is at work may begin another attempt.
 * @throws KilnError OUT_OF_RANGE, OFFSET_INVALID for an event offset within an event
 */
export async function watchBuildFiles(
  files: BuildFiles,
  { follow, logOffset, eventOffset, ...range }: WatchRange,
  current: () => BuildFiles = () => files,
): Promise<AsyncIterable<WatchItem>> {
  const attempt = range.attempt ?? (logOffset === 0 ? 1 : files.earlier.length + 1);
  const log = logOfAttempt(files, {
    attempt: range.attempt ?? (logOffset === 0 ? 1 : undefined),
    offset: logOffset,
  });
  const left = new AbortController();
  const signal = AbortSignal.any([range.signal, left.signal]);
  // One right after the other: where the events hold the verdict by now, the log is whole by now.
  const chunks = log.read({ offset: logOffset, follow, signal });
  const lines = files.events.read({ offset: eventOffset, follow, signal });
  await refuseWithinEvent(files.events, eventOffset, signal);
  const next = (number: number): AsyncIterable<Buffer> | null => {
    const { earlier, log: last } = current();
    return [...earlier, last][number - 1]?.read({ offset: 0, follow, signal }) ?? null;
  };
  return watchAttempts(
    { attempt, log: readLog(chunks, attempt, logOffset), events: readEvents(lines, eventOffset), next },
    left,
  );
}

type Watched = {
  readonly attempt: number;
  readonly log: AsyncIterable<WatchItem>;
  readonly events: AsyncGenerator<EventItem, void>;
  /** The log of another attempt; null where there is none. */
  readonly next: (attempt: number) => AsyncIterable<Buffer> | null;
};

async function* watchAttempts(
  { log, events, next, ...first }: Watched,
  left: AbortController,
): AsyncGenerator<WatchItem> {
  let { attempt } = first;
  const nextLog = (): AsyncIterable<WatchItem> | null => {
    const chunks = next(attempt + 1);
    if (chunks) attempt += 1;
    return chunks && readLog(chunks, attempt, 0);
  };
  try {
    for (let current: AsyncIterable<WatchItem> | null = log; ; ) {
      const part = new EventsOfAttempt(events, attempt);
      yield* mergeIterables<WatchItem>(current ? [current, part.items()] : [part.items()]);
      const { end } = part;
      if (end?.event.type === 'attempt') {
        yield end;
        current = nextLog();
        continue;
      }
      // Whoever reads on from a later event is told of no attempt, and gets its log all the same.
      for (let rest = nextLog(); rest; rest = nextLog()) yield* rest;
      if (end) yield end;
      return;
    }
  } finally {
    // A source that waits for its file to grow would go on waiting, and one that does not would keep it open.
    left.abort();
    void events.return().catch(() => undefined);
  }
}

/** The events until another attempt begins, or to the verdict. */
class EventsOfAttempt {
  readonly #events: AsyncGenerator<EventItem, void>;
  readonly #attempt: number;
  /** What comes after them, once they have ended. */
  end: EventItem | null = null;

  constructor(events: AsyncGenerator<EventItem, void>, attempt: number) {
    this.#events = events;
    this.#attempt = attempt;
  }

  /** Leaves the rest of the events to whoever comes next. */
  async *items(): AsyncGenerator<EventItem, void> {
    for (;;) {
      const { done, value } = await this.#events.next();
      if (done) return;
      const { event } = value;
      if (event.type === 'verdict' || (event.type === 'attempt' && event.attempt > this.#attempt)) {
        this.end = value;
        return;
      }
      yield value;
    }
  }
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

async function* readLog(
  chunks: AsyncIterable<Buffer>,
  attempt: number,
  offset: number,
): AsyncGenerator<WatchItem> {
  for await (const data of chunks) {
    yield { kind: 'log', attempt, offset, data };
    offset += data.length;
  }
}

async function* readEvents(chunks: AsyncIterable<Buffer>, offset: number): AsyncGenerator<EventItem, void> {
  for await (const line of splitLines(chunks, maxEventBytes)) {
    offset += line.length + 1;
    yield { kind: 'event', offset, event: parseEvent(line) };
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
