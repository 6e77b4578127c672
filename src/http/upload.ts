import type { Readable } from 'node:stream';
import type { Request, Response } from 'express';
import type { Builds } from '../model/builds.ts';
import type { StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { type Fields, joinFields } from './fields.ts';
import { readMultipart } from './multipart.ts';

export type ReceivedBuild = {
  readonly fields: Fields;
  readonly context: StagedContext | null;
  readonly dockerfile: Buffer | null;
};

/** An upload that sends nothing for this long, or less than the rate on the whole, is given up. */
const stallMs = 30_000;
const minimumRate = 1024;

/** Types under which an archive is sent as the body itself; the last is what `curl --data-binary` says. */
const rawTypes = [
  ...['application/x-tar', 'application/tar', 'application/gzip', 'application/x-gzip', 'application/zip'],
  ...['application/octet-stream', 'application/x-www-form-urlencoded'],
];

/** Receives a build request: a form, or an archive as the body with its fields in the URL. */
export async function receiveBuild(
  {
    request,
    response,
    builds,
    maxBytes,
  }: { request: Request; response: Response; builds: Builds; maxBytes: number },
  signal: AbortSignal,
): Promise<ReceivedBuild> {
  refuseEarly(request, maxBytes);
  using pace = watchPace(request);
  const linked = AbortSignal.any([signal, pace.signal]);
  const stage = (upload: Readable): Promise<StagedContext> => builds.stageContext(upload, linked);
  const query = readQuery(request);
  if (request.is('multipart/form-data') !== false) {
    const { fields, ...files } = await readMultipart(request, response, stage);
    return { fields: joinFields(fields, query), ...files };
  }
  const type = request.headers['content-type'];
  if (type !== undefined && request.is(rawTypes) === false) {
    throw new KilnError(
      'CONTENT_TYPE',
      'Send the context as multipart/form-data, or as the body with a type such as application/x-tar.',
    );
  }
  if (request.headers['content-length'] === '0') {
    throw new KilnError(
      'FILE_MISSING',
      'Send the context: curl -F context=@ctx.tgz, or as the body with --data-binary @ctx.tgz.',
    );
  }
  return { fields: query, context: await stage(request), dockerfile: null };
}

/** What the headers alone decide, before a client that waits for `100 Continue` sends the body. */
export function refuseEarly(request: { headers: Request['headers'] }, maxBytes: number): void {
  if (request.headers['content-encoding'] !== undefined) {
    throw new KilnError('CONTENT_ENCODING', 'Send the archive as it is, without Content-Encoding.');
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    throw new KilnError(
      'UPLOAD_TOO_LARGE',
      `The upload is larger than ${maxBytes} bytes; leave out what the build does not need.`,
      {
        details: { limit: maxBytes },
      },
    );
  }
}

function readQuery(request: Request): Fields {
  const { searchParams } = new URL(request.originalUrl, 'http://kiln');
  return new Map([...new Set(searchParams.keys())].map((name) => [name, searchParams.getAll(name)]));
}

/** Aborts with UPLOAD_TIMEOUT when the body stalls or crawls. */
function watchPace(request: Request): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const { socket } = request;
  const started = performance.now();
  const startBytes = socket.bytesRead;
  let last = { at: started, bytes: startBytes };
  const timer = setInterval(() => {
    const now = performance.now();
    const bytes = socket.bytesRead;
    if (bytes > last.bytes) last = { at: now, bytes };
    const crawls = now - started > stallMs && bytes - startBytes < ((now - started) / 1000) * minimumRate;
    if (request.complete || (now - last.at < stallMs && !crawls)) return;
    controller.abort(
      new KilnError('UPLOAD_TIMEOUT', 'The upload stalled; send it again over a faster connection.'),
    );
  }, 1000);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
