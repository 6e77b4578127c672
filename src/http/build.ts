import { once } from 'node:events';
import type { Request, RequestHandler, Response } from 'express';
import type { Log } from '../lib/log.ts';
import { type BuildRecord, isTerminal, type Verdict } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import type { BuildEvent, WatchItem } from '../model/event.ts';
import { type AnswerOptions, parseFields } from './fields.ts';
import { clientGoneSignal, createWriter, type Writer } from './stream.ts';
import { receiveBuild } from './upload.ts';

/** While nothing else is said, a line tells that the build is alive and what it waits for. */
const keepAliveMs = 15_000;

/** POST /build: the archive in, the plain log (or events) out as it is printed, the verdict last. */
export function postBuild(options: { builds: Builds; uploadMaxBytes: number; log: Log }): RequestHandler {
  const { builds, uploadMaxBytes, log } = options;
  return async (request, response) => {
    const gone = clientGoneSignal(request, response);
    const { fields, context, dockerfile } = await receiveBuild(
      { request, response, builds, maxBytes: uploadMaxBytes },
      gone,
    );
    await using undo = new AsyncDisposableStack();
    undo.defer(() => context?.[Symbol.asyncDispose]());
    const { spec, answer } = parseFields(fields);
    undo.move();
    const record = await builds.start({ spec, context, dockerfile });
    response.set({ 'X-Build-Id': record.id, Location: `/v1/builds/${record.id}` });
    if (answer.async || prefersAsync(request)) {
      response.status(202).set('Preference-Applied', 'respond-async').json(record);
      return;
    }
    // From here on the client's leaving is the end of the build.
    gone.addEventListener('abort', () => void cancelQuietly(builds, record.id, log), { once: true });
    await streamBuild({ builds, record, answer, request, response }, gone);
  };
}

async function streamBuild(
  stream: {
    builds: Builds;
    record: BuildRecord;
    answer: AnswerOptions;
    request: Request;
    response: Response;
  },
  signal: AbortSignal,
): Promise<void> {
  const { builds, record, answer, request, response } = stream;
  const format = request.accepts(['text/plain', 'application/x-ndjson', 'text/event-stream']) || 'text/plain';
  response.set('Trailer', 'X-Build-State, X-Build-Exit-Code');
  const writer = createWriter(response, format, signal);
  const items = await builds.watch(record.id, { logOffset: 0, eventOffset: 0, follow: true, signal });
  const verdict =
    format === 'text/plain'
      ? await writeText({ items, writer, record })
      : await writeEvents({ items, writer, sse: format === 'text/event-stream' });
  if (verdict.state !== 'succeeded' && answer.onFailure === 'cut') {
    await cut(response);
    return;
  }
  response.addTrailers({
    'X-Build-State': verdict.state,
    'X-Build-Exit-Code': String(verdict.exitCode ?? ''),
  });
  response.end();
}

async function writeText(text: {
  items: AsyncIterable<WatchItem>;
  writer: Writer;
  record: BuildRecord;
}): Promise<Verdict> {
  const { items, writer, record } = text;
  const started = performance.now();
  let waitingFor = 'its VM';
  let freshLine = true;
  const timer = setInterval(() => {
    if (waitingFor !== '' && freshLine)
      void writer.write(`kiln: build ${record.id} waits for ${waitingFor}\n`);
  }, keepAliveMs);
  try {
    for await (const item of items) {
      if (item.kind === 'log') {
        waitingFor = '';
        freshLine = item.data.at(-1) === 0x0a;
        await writer.write(item.data);
        continue;
      }
      const { event } = item;
      if (event.type === 'state' && event.state === 'running') waitingFor = 'its context to be unpacked';
      if (event.type === 'warning') await writer.write(`kiln: warning: ${event.message}\n`);
      if (event.type === 'queued') {
        waitingFor = `a VM, place ${event.place} in the queue`;
        await writer.write(`kiln: build ${record.id} waits for ${waitingFor}\n`);
      }
      if (event.type === 'verdict') {
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        await writer.write(
          `${freshLine ? '' : '\n'}kiln: build ${record.id} ${describe(event.verdict, seconds)}\n`,
        );
        return event.verdict;
      }
    }
  } finally {
    clearInterval(timer);
  }
  throw new KilnError('INTERNAL', 'The build ended without a verdict.');
}

function describe({ state, message }: Verdict, seconds: string): string {
  return state === 'succeeded' ? `succeeded in ${seconds} s` : `${state} after ${seconds} s: ${message}`;
}

async function writeEvents(events: {
  items: AsyncIterable<WatchItem>;
  writer: Writer;
  sse: boolean;
}): Promise<Verdict> {
  for await (const item of events.items) {
    if (item.kind !== 'event') continue;
    await events.writer.write(encodeEvent(item.event, item.offset, events.sse));
    if (item.event.type === 'verdict') return item.event.verdict;
  }
  throw new KilnError('INTERNAL', 'The build ended without a verdict.');
}

/** One line of NDJSON, or one server-sent event whose id is the offset to come back with. */
export function encodeEvent(event: BuildEvent, offset: number, sse: boolean): string {
  const json = JSON.stringify(event);
  return sse ? `id: ${offset}\nevent: ${event.type}\ndata: ${json}\n\n` : `${json}\n`;
}

/**
 * Ends the answer so that the client must notice: everything is sent, the last chunk of the chunked coding is not. curl then
 * exits with 18. FIN and not RST, which could overtake what is still on its way.
 */
async function cut(response: Response): Promise<void> {
  const { socket } = response;
  if (!socket || socket.destroyed) return;
  socket.end();
  await Promise.race([once(socket, 'close'), new Promise((resolve) => setTimeout(resolve, 5000).unref())]);
  socket.destroy();
}

async function cancelQuietly(builds: Builds, id: string, log: Log): Promise<void> {
  try {
    const { state } = await builds.get(id);
    if (!isTerminal(state)) await builds.cancel(id, 'The client went away.');
  } catch (error) {
    if (KilnError.from(error).code !== 'BUILD_TERMINAL')
      log.error({ error, build: id }, 'a build could not be cancelled');
  }
}

function prefersAsync(request: Request): boolean {
  return String(request.headers['prefer'] ?? '')
    .split(',')
    .some((word) => word.trim() === 'respond-async');
}
