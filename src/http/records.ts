import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { type Request, type Response, Router } from 'express';
import type { Builds } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import { encodeEvent } from './build.ts';
import { clientGoneSignal, createWriter } from './stream.ts';

const maxPage = 100;

/** What can be asked of builds that exist. */
export function createRecordRoutes(builds: Builds): Router {
  const router = Router();
  router.get('/', async (request, response) => {
    const limit = readNumber(request, 'limit', 20, maxPage);
    const { cursor } = request.query;
    const records = await builds.list({ limit, ...(typeof cursor === 'string' && { before: cursor }) });
    const last = records.at(-1);
    if (last && records.length === limit) {
      response.set('Link', `</v1/builds?limit=${limit}&cursor=${last.id}>; rel="next"`);
    }
    response.json({ builds: records });
  });
  router.get('/:id', async (request, response) => {
    response.json(await builds.get(request.params.id));
  });
  router.delete('/:id', async (request, response) => {
    response.json(await builds.cancel(request.params.id, 'The build was cancelled.'));
  });
  router.get('/:id/log', (request, response) => sendLog(builds, request, response));
  router.get('/:id/events', (request, response) => sendEvents(builds, request, response));
  router.get('/:id/artifact', (request, response) => sendArtifact(builds, request, response));
  return router;
}

async function sendLog(builds: Builds, request: Request<{ id: string }>, response: Response): Promise<void> {
  const signal = clientGoneSignal(request, response);
  const range = {
    offset: readNumber(request, 'offset', 0),
    follow: request.query['follow'] === 'true',
    signal,
  };
  const chunks = await builds.readLog(request.params.id, range);
  const writer = createWriter(response, 'text/plain', signal);
  for await (const chunk of chunks) await writer.write(chunk);
  response.end();
}

async function sendEvents(
  builds: Builds,
  request: Request<{ id: string }>,
  response: Response,
): Promise<void> {
  const signal = clientGoneSignal(request, response);
  const sse = request.accepts(['application/x-ndjson', 'text/event-stream']) === 'text/event-stream';
  const lastEventId = request.headers['last-event-id'];
  const eventOffset =
    lastEventId === undefined ? readNumber(request, 'offset', 0) : parseOffset(String(lastEventId));
  const follow = request.query['follow'] === 'true';
  const events = await builds.watch(request.params.id, { logOffset: 0, eventOffset, follow, signal });
  const writer = createWriter(response, sse ? 'text/event-stream' : 'application/x-ndjson', signal);
  for await (const item of events) {
    if (item.kind === 'event') await writer.write(encodeEvent(item.event, item.offset, sse));
  }
  response.end();
}

async function sendArtifact(
  builds: Builds,
  request: Request<{ id: string }>,
  response: Response,
): Promise<void> {
  const { artifact, path } = await builds.artifact(request.params.id);
  response.set({
    'Content-Type': 'application/x-tar',
    'Content-Length': String(artifact.size),
    'Content-Disposition': `attachment; filename="${request.params.id}.${artifact.format}.tar"`,
    ETag: `"${artifact.digest}"`,
    'Cache-Control': 'private, immutable',
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  await pipeline(createReadStream(path), response).catch((error: unknown) => {
    throw response.destroyed
      ? new KilnError('CLIENT_GONE', 'The client went away.', { cause: error })
      : error;
  });
}

function readNumber(request: Request, name: string, fallback: number, max = Number.MAX_SAFE_INTEGER): number {
  const text = request.query[name] as string | undefined;
  return text === undefined ? fallback : Math.min(parseOffset(text), max);
}

function parseOffset(text: string): number {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(number))
    throw new KilnError('OFFSET_INVALID', 'An offset or limit must be a whole number from 0 on.');
  return number;
}
