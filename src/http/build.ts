import type { Request, RequestHandler, Response } from 'express';
import type { Logger } from '../lib/logger.ts';
import type { BuildRecord } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import { KilnError } from '../model/error.ts';
import { type BuildAnswer, endAnswer, sendBuild } from './answer/build-answer.ts';
import { watchClient } from './answer/client.ts';
import type { HttpSettings } from './settings.ts';
import { type ReceivedBuild, receiveBuild } from './upload/upload.ts';

export type BuildEdge = {
  readonly builds: Builds;
  readonly settings: HttpSettings;
  readonly logger: Logger;
};

/** POST /build: the archive in, the plain log (or events) out as it is printed, the verdict last. */
export function postBuild(edge: BuildEdge): RequestHandler {
  const { builds, logger } = edge;
  return async (request, response) => {
    using client = watchClient(request);
    const received = await receiveBuild({ request, response }, edge, client.signal);
    const record = await startBuild(received, builds);
    logger.info({ build: record.id, requestId: response.getHeader('X-Request-Id') }, 'build accepted');
    response.set({ 'X-Build-Id': record.id, Location: `/v1/builds/${record.id}` });
    if (received.answer.async || prefersAsync(request)) sendAccepted(request, response, record);
    else await followBuild({ request, response, record, ...received.answer }, edge, client.signal);
  };
}

async function startBuild(
  { spec, context, dockerfile }: ReceivedBuild,
  builds: Builds,
): Promise<BuildRecord> {
  await using undo = new AsyncDisposableStack();
  if (context) undo.use(context);
  const record = await builds.start({ spec, context, dockerfile });
  undo.move();
  return record;
}

/** The client's leaving, however it shows, is the end of the build. */
async function followBuild(answer: BuildAnswer, edge: BuildEdge, signal: AbortSignal): Promise<void> {
  const { record } = answer;
  try {
    const verdict = await sendBuild(answer, edge, signal);
    await endAnswer(answer, verdict, edge.settings.readerStallMs);
  } catch (error) {
    await cancelQuietly(record.id, edge);
    throw error;
  }
}

async function cancelQuietly(id: string, { builds, logger }: BuildEdge): Promise<void> {
  try {
    await builds.cancel(id, 'The client went away.');
  } catch (error) {
    if (KilnError.from(error).code !== 'BUILD_TERMINAL')
      logger.error({ error, build: id }, 'a build could not be cancelled');
  }
}

function sendAccepted(request: Request, response: Response, record: BuildRecord): void {
  if (prefersAsync(request)) response.set('Preference-Applied', 'respond-async');
  response.status(202).json(record);
}

function prefersAsync({ headers }: Request): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => preference.split(';')[0]?.trim().toLowerCase() === 'respond-async');
}
