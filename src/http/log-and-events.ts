import type { Request, Response } from 'express';
import { type BuildState, isTerminal } from '../model/build.ts';
import type { Builds, LogOptions } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { openStream, watchClient } from './answer/client.ts';
import { writeEvents } from './answer/events.ts';
import { logQuery, rangeQuery } from './docs/queries.ts';
import { idOf } from './id-of.ts';
import { readQuery } from './query.ts';
import type { HttpSettings } from './settings.ts';
import type { CallerHandler } from './with-caller.ts';

/** What has a record, a log and events: builds, or operations. */
export type Followed = Pick<Builds, 'readLog' | 'events'> & {
  get(caller: Caller, id: string): Promise<{ readonly state: BuildState }>;
};

/** Of one attempt. */
export function getBuildLog(builds: Followed, settings: HttpSettings): CallerHandler {
  return getLog(builds, settings, (query) => readQuery(logQuery, query));
}

export function getOperationLog(operations: Followed, settings: HttpSettings): CallerHandler {
  return getLog(operations, settings, (query) => readQuery(rangeQuery, query));
}

/** The log's bytes, exactly. */
function getLog(
  followed: Followed,
  settings: HttpSettings,
  readRange: (query: Request['query']) => Omit<LogOptions, 'signal'>,
): CallerHandler {
  return async (caller, request, response) => {
    using client = watchClient(request);
    const { signal } = client;
    const range = readRange(request.query);
    const { state } = await followed.get(caller, idOf(request));
    const chunks = await followed.readLog(caller, idOf(request), { ...range, signal });
    const type = 'text/plain';
    if (endHead(request, response, type)) return;
    await using reader = fromIterable(chunks);
    // While a refusal can still be said: the log of a build that has ended may be removed at any moment.
    const first = isTerminal(state) ? await reader.next() : undefined;
    const writer = openStream(response, { type, stallMs: settings.readerStallMs }, signal);
    if (first && !first.done) await writer.write(first.value);
    for await (const chunk of reader) await writer.write(chunk);
    response.end();
  };
}

async function* fromIterable<T>(items: AsyncIterable<T>): AsyncGenerator<T, void> {
  yield* items;
}

/** The events as NDJSON, or as server-sent events that a browser resumes by itself. */
export function getEvents(followed: Followed, settings: HttpSettings): CallerHandler {
  return async (caller, request, response) => {
    using client = watchClient(request);
    const { signal } = client;
    const type = request.accepts(['application/x-ndjson', 'text/event-stream']) || 'application/x-ndjson';
    const sse = type === 'text/event-stream';
    const { offset, follow } = readQuery(rangeQuery, resumed(request));
    const { state } = await followed.get(caller, idOf(request));
    await using events = await followed.events(caller, idOf(request), { offset, follow, signal });
    if (endHead(request, response, type)) return;
    const first = isTerminal(state) ? await events.next() : undefined;
    if (sse && first?.done) {
      // A browser reconnects whenever a stream of events ends, unless the answer is 204.
      response.status(204).end();
      return;
    }
    const writer = openStream(response, { type, stallMs: settings.readerStallMs }, signal);
    const how = { sse, keepAliveMs: settings.keepAliveMs };
    if (first && !first.done) await writeEvents([first.value], writer, how);
    await writeEvents(events, writer, how);
    response.end();
  };
}

/** A browser that reconnects sends Last-Event-ID: it counts, not the offset in the URL. */
function resumed({ query, headers }: Request): Request['query'] {
  const lastEventId = headers['last-event-id'];
  return lastEventId === undefined ? query : { ...query, offset: String(lastEventId) };
}

function endHead(request: Request, response: Response, type: string): boolean {
  if (request.method !== 'HEAD') return false;
  response.type(type).end();
  return true;
}
