import type { Request, Response } from 'express';
import type { Builds } from '../../model/builds.ts';
import type { StagedContext } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import type { BuildSpec } from '../../model/spec.ts';
import type { HttpSettings } from '../settings.ts';
import { archiveTypes, declaredFormat } from './archive-types.ts';
import { type AnswerOptions, checkNames, type Fields, joinFields, parseFields } from './fields.ts';
import { readMultipart, type StageUpload } from './multipart.ts';
import { watchPace } from './pace.ts';

/** A build request as it was received; whoever holds it owns the context. */
export type ReceivedBuild = {
  readonly spec: BuildSpec;
  readonly answer: AnswerOptions;
  readonly context: StagedContext | null;
  readonly dockerfile: Buffer | null;
};

/**
 * Receives a build request: a form, or an archive as the body with its fields in the URL. What the headers and the URL
 * decide is refused before the body is asked for. On any failure nothing is left.
 */
export async function receiveBuild(
  { request, response }: { request: Request; response: Response },
  { builds, settings }: { builds: Builds; settings: HttpSettings },
  signal: AbortSignal,
): Promise<ReceivedBuild> {
  const isForm = isFormRequest(request);
  refuseEarly(request, settings.uploadMaxBytes);
  const query = readQuery(request);
  checkNames(query);
  using pace = watchPace(request, settings.uploadStallMs);
  const linked = AbortSignal.any([signal, pace.signal]);
  const stage: StageUpload = (upload) => builds.stageContext(upload, linked);
  try {
    if (isForm)
      return await receiveForm(query, () => readMultipart(invite(request, response), stage, linked));
    const parsed = parseFields(query);
    const body = invite(request, response);
    // Leaving the iteration must not destroy the request: the answer goes out on its connection.
    const bytes = body.iterator({ destroyOnReturn: false });
    const declared = declaredFormat(body.headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '');
    const context = await stage({ bytes, declared });
    return { ...parsed, context, dockerfile: null };
  } catch (error) {
    linked.throwIfAborted();
    throw error;
  }
}

/** Asks a client for the body that waits to be asked (`Expect: 100-continue`). */
function invite(request: Request, response: Response): Request {
  if (request.headers.expect !== undefined) response.writeContinue();
  return request;
}

async function receiveForm(
  query: Fields,
  read: () => ReturnType<typeof readMultipart>,
): Promise<ReceivedBuild> {
  const { fields, context, dockerfile } = await read();
  await using undo = new AsyncDisposableStack();
  if (context) undo.use(context);
  const all = joinFields(fields, query);
  if (dockerfile && all.has('dockerfile')) {
    throw new KilnError(
      'MULTIPART_FIELD',
      "Field 'dockerfile' is given as a file and as a path in the context; give one of them.",
    );
  }
  const parsed = parseFields(all);
  if (!context && !dockerfile) throw fileMissing();
  undo.move();
  return { ...parsed, context, dockerfile };
}

function isFormRequest(request: Request): boolean {
  const isForm = request.is('multipart/form-data');
  if (isForm === null || request.headers['content-length'] === '0') throw fileMissing();
  if (isForm !== false) return true;
  if (request.headers['content-type'] === undefined || request.is([...archiveTypes]) !== false) return false;
  throw new KilnError(
    'CONTENT_TYPE',
    'Send the context as multipart/form-data, or as the body with a type such as application/x-tar.',
  );
}

function refuseEarly({ headers }: Request, maxBytes: number): void {
  if (!['', 'identity'].includes(headers['content-encoding'] ?? '')) {
    throw new KilnError('CONTENT_ENCODING', 'Send the archive as it is, without Content-Encoding.');
  }
  if (Number(headers['content-length'] ?? 0) > maxBytes) {
    throw new KilnError(
      'UPLOAD_TOO_LARGE',
      `The upload is larger than ${maxBytes} bytes; leave out what the build does not need.`,
      { details: { limit: maxBytes } },
    );
  }
}

function fileMissing(): KilnError {
  return new KilnError(
    'FILE_MISSING',
    'Send the context: curl -F context=@ctx.tgz, or as the body with --data-binary @ctx.tgz.',
  );
}

function readQuery(request: Request): Fields {
  const { searchParams } = new URL(request.originalUrl, 'http://kiln');
  return new Map([...new Set(searchParams.keys())].map((name) => [name, searchParams.getAll(name)]));
}
