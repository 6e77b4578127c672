import type { Request, Response } from 'express';
import type { Logger } from '../lib/logger.ts';
import type { BuildRecord } from '../model/build.ts';
import type { Builds } from '../model/builds.ts';
import type { Authenticate, Caller } from '../model/caller.ts';
import { type BuildAnswer, endAnswer, sendBuild } from './answer/build-answer.ts';
import { watchClient } from './answer/client.ts';
import type { HttpSettings } from './settings.ts';
import type { AnswerOptions } from './upload/fields.ts';
import { receiveBuild } from './upload/upload.ts';
import type { CallerHandler } from './with-caller.ts';

export type BuildEdge = {
  readonly builds: Builds;
  readonly authenticate: Authenticate;
  readonly settings: HttpSettings;
  readonly logger: Logger;
};

/** POST /build: the archive in, the plain log (or events) out as it is printed, the verdict last. */
export function postBuild(edge: BuildEdge): CallerHandler {
  const { logger } = edge;
  return async (caller, request, response) => {
    using client = watchClient(request);
    const { record, answer } = await acceptBuild({ caller, request, response }, edge, client.signal);
    logger.info({ build: record.id, requestId: response.getHeader('X-Request-Id') }, 'build accepted');
    response.set({ 'X-Build-Id': record.id, Location: `/v1/builds/${record.id}` });
    if (answer.async || prefersAsync(request)) sendAccepted(request, response, record);
    else await followBuild({ caller, request, response, record, ...answer }, edge, client.signal);
  };
}

async function acceptBuild(
  asked: { caller: Caller; request: Request; response: Response },
  edge: BuildEdge,
  signal: AbortSignal,
): Promise<{ record: BuildRecord; answer: AnswerOptions }> {
  using _place = edge.builds.receive(asked.caller);
  const { answer, ...build } = await receiveBuild(asked, edge, signal);
  return { record: await edge.builds.start(asked.caller, build), answer };
}

/** The client's leaving, however it shows, is the end of the build. */
async function followBuild(answer: BuildAnswer, edge: BuildEdge, signal: AbortSignal): Promise<void> {
  await using _client = edge.builds.attend(answer.caller, answer.record.id);
  const verdict = await sendBuild(answer, edge, signal);
  await endAnswer(answer, verdict, edge.settings.readerStallMs);
}

function sendAccepted(request: Request, response: Response, record: BuildRecord): void {
  if (prefersAsync(request)) response.set('Preference-Applied', 'respond-async');
  response.status(202).json(record);
}

function prefersAsync({ headers }: Request): boolean {
  const preferences = [headers['prefer'] ?? []].flat().join(',').split(',');
  return preferences.some((preference) => preference.split(';')[0]?.trim().toLowerCase() === 'respond-async');
}
