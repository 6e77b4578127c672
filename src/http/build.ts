import type { Request, Response } from 'express';
import type { Logger } from '../lib/logger.ts';
import type { BuildRecord } from '../model/build.ts';
import type { Builds, UploadProgress } from '../model/builds.ts';
import type { Authenticate, Caller } from '../model/caller.ts';
import type { Matrix } from '../model/matrix.ts';
import { readOrigin } from '../model/request-origin.ts';
import { type BuildAnswer, endAnswer, sendBuild } from './answer/build-answer.ts';
import { watchClient } from './answer/client.ts';
import { type MatrixAnswer, sendMatrix } from './answer/matrix-answer.ts';
import { readIdempotencyKey } from './idempotency-key.ts';
import { prefersAsync, sendAccepted } from './prefer.ts';
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
    const asked = { caller, request, response };
    const { accepted, answer } = await accept(asked, edge, client.signal);
    const { tenant } = caller;
    const requestId = response.getHeader('X-Request-Id');
    if ('matrix' in accepted) {
      const { id, builds } = accepted.matrix;
      logger.info(
        { matrix: id, tenant, builds: builds.map((build) => build.id), requestId },
        'matrix accepted',
      );
      response.set({ 'X-Matrix-Id': id, Location: `/v1/matrices/${id}` });
      if (answer.async || prefersAsync(request)) sendAccepted(request, response, accepted.matrix);
      else await followMatrix({ ...asked, ...accepted, ...answer }, edge, client.signal);
      return;
    }
    const { record } = accepted;
    logger.info({ build: record.id, tenant, requestId }, 'build accepted');
    response.set({ 'X-Build-Id': record.id, Location: `/v1/builds/${record.id}` });
    if (answer.async || prefersAsync(request)) sendAccepted(request, response, record);
    else await followBuild({ caller, request, response, record, ...answer }, edge, client.signal);
  };
}

/** What the request asked for: one build, or a matrix. */
type Accepted = { readonly record: BuildRecord } | { readonly matrix: Matrix };

async function accept(
  asked: { caller: Caller; request: Request; response: Response },
  edge: BuildEdge,
  signal: AbortSignal,
): Promise<{ accepted: Accepted; answer: AnswerOptions }> {
  const { caller } = asked;
  using place = edge.builds.receive(caller, progressOf(asked.request));
  const linked = AbortSignal.any([signal, place.signal]);
  const idempotencyKey = readIdempotencyKey(asked.request);
  const { answer, entries, ...received } = await receiveBuild(asked, edge, linked);
  const { request, response } = asked;
  const origin = readOrigin(response.getHeader('X-Request-Id'), request.headers['traceparent']);
  const build = { ...received, idempotencyKey, origin };
  if (!entries) return { accepted: { record: await edge.builds.start(caller, build) }, answer };
  return { accepted: { matrix: await edge.builds.startMatrix(caller, { ...build, entries }) }, answer };
}

function progressOf(request: Request): UploadProgress {
  const { socket } = request;
  const before = socket.bytesRead;
  return () => (request.complete ? null : socket.bytesRead - before);
}

/** The client's leaving, however it shows, is the end of the build, unless its key says that it may come back. */
async function followBuild(answer: BuildAnswer, edge: BuildEdge, signal: AbortSignal): Promise<void> {
  await using client = new AsyncDisposableStack();
  if (readIdempotencyKey(answer.request) === undefined)
    client.use(edge.builds.attend(answer.caller, answer.record.id));
  const verdict = await sendBuild(answer, edge, signal);
  await endAnswer(answer, verdict, edge.settings.readerStallMs);
}

async function followMatrix(
  answer: MatrixAnswer & Pick<BuildAnswer, 'onFailure'>,
  edge: BuildEdge,
  signal: AbortSignal,
): Promise<void> {
  await using clients = new AsyncDisposableStack();
  const stays = readIdempotencyKey(answer.request) === undefined;
  for (const { id } of stays ? answer.matrix.builds : []) clients.use(edge.builds.attend(answer.caller, id));
  const { state } = await sendMatrix(answer, edge, signal);
  await endAnswer(answer, { state, exitCode: null }, edge.settings.readerStallMs);
}
