import type { Request, Response } from 'express';
import { ChunkReader } from '../../lib/chunk-reader.ts';
import type { BuildSecrets } from '../../model/build-secrets.ts';
import type { Builds } from '../../model/builds.ts';
import type { Caller } from '../../model/caller.ts';
import type { ArchiveUpload, ContextStaging } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import type { BuildSpec } from '../../model/spec.ts';
import type { HttpSettings } from '../settings.ts';
import { archiveTypes, declaredFormat } from './archive-types.ts';
import { type AnswerOptions, type Fields, joinFields, type ParsedFields, parseFields } from './fields.ts';
import { type Form, readMultipart, type TakeArchive } from './multipart.ts';
import { watchPace } from './pace.ts';
import { parseSecrets, refuseSecretsInUrl } from './secret-parts.ts';

/** A build request as it was received; whoever holds it owns the contexts. */
export type ReceivedBuild = {
  readonly spec: BuildSpec;
  /** Of a matrix; undefined where it is one build. */
  readonly entries: readonly string[] | undefined;
  readonly answer: AnswerOptions;
  readonly context: ContextStaging | null;
  readonly dockerfile: Buffer | null;
  readonly secrets: BuildSecrets;
};

/**
 * Receives a build request: a form, or an archive as the body with its fields in the URL. What the headers and the URL
 * decide is refused before the body is asked for. On any failure nothing is left.
 */
export async function receiveBuild(
  { caller, request, response }: { caller: Caller; request: Request; response: Response },
  { builds, settings }: { builds: Builds; settings: HttpSettings },
  signal: AbortSignal,
): Promise<ReceivedBuild> {
  const isForm = isFormRequest(request);
  refuseEarly(request, settings.uploadMaxBytes);
  const query = readQuery(request);
  refuseSecretsInUrl(query);
  const registryHeader = request.get('X-Registry-Config');
  using pace = watchPace(request, settings.uploadStallMs);
  const linked = AbortSignal.any([signal, pace.signal]);
  const received: Receiving = {
    parse(form) {
      const parsed = parseForm(form, query);
      const { spec, entries } = parsed;
      const { dockerfile, archives } = form;
      const secrets = parseSecrets(form.secrets, registryHeader);
      builds.check(caller, { spec, dockerfile, secrets, archives, ...(entries && { entries }) });
      return { ...parsed, secrets };
    },
    stage: () => builds.stageContexts(caller, linked),
    signal: linked,
  };
  try {
    const fromUrl = received.parse(emptyForm);
    const body = invite(request, response);
    if (isForm) return await receiveForm(body, received);
    await using undo = new AsyncDisposableStack();
    const context = undo.use(await received.stage());
    await context.add(null, readArchive(body));
    undo.move();
    return { ...fromUrl, context, dockerfile: null };
  } catch (error) {
    linked.throwIfAborted();
    throw error;
  }
}

/** What is done with the parts of a request as they come. */
type Receiving = {
  /** Reads the fields that came so far and checks the build they make. */
  parse(form: Form): ParsedFields & Pick<ReceivedBuild, 'secrets'>;
  stage(): Promise<ContextStaging>;
  readonly signal: AbortSignal;
};

const emptyForm: Form = { fields: new Map(), dockerfile: null, secrets: [], archives: [] };

/** Asks a client for the body that waits to be asked (`Expect: 100-continue`). */
function invite(request: Request, response: Response): Request {
  if (request.headers.expect !== undefined) response.writeContinue();
  return request;
}

function readArchive(body: Request): ArchiveUpload {
  const type = body.headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  // Leaving the iteration must not destroy the request: the answer goes out on its connection.
  return { bytes: new ChunkReader(body), declared: declaredFormat(type) };
}

/** What a form says before an archive is checked before that is read: nobody uploads gigabytes to hear of a wrong field. */
async function receiveForm(body: Request, { parse, stage, signal }: Receiving): Promise<ReceivedBuild> {
  await using undo = new AsyncDisposableStack();
  const staged: ContextStaging[] = [];
  const take: TakeArchive = async (name, upload, before) => {
    parse(before);
    // With the first archive.
    if (staged.length === 0) staged.push(undo.use(await stage()));
    await staged[0]?.add(name, upload);
  };
  const form = await readMultipart(body, take, signal);
  const parsed = parse(form);
  const [context = null] = staged;
  if (!context?.summary && !form.dockerfile) throw fileMissing();
  undo.move();
  return { ...parsed, context, dockerfile: form.dockerfile };
}

/** The fields of a form and those of its URL as one. @throws KilnError, those of `parseFields` */
function parseForm({ fields, dockerfile }: Form, query: Fields): ParsedFields {
  const all = joinFields(fields, query);
  if (dockerfile && all.has('dockerfile')) {
    throw new KilnError(
      'MULTIPART_FIELD',
      "Field 'dockerfile' is given as a file and as a path in the context; give one of them.",
    );
  }
  return parseFields(all);
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
