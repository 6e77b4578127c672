import { EventEmitter } from 'node:events';
import type { Request, Response } from 'express';
import multer, { MulterError } from 'multer';
import { ChunkReader } from '../../lib/chunk-reader.ts';
import { printable } from '../../lib/text.ts';
import type { ArchiveUpload, StagedContext } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import { declaredFormat } from './archive-types.ts';
import type { Fields } from './fields.ts';
import { mendPartHeaders } from './part-headers.ts';

/** What a multipart body held. */
export type Multipart = {
  readonly fields: Fields;
  readonly context: StagedContext | null;
  readonly dockerfile: Buffer | null;
};

/** What a form held before its context. */
export type FormSoFar = Omit<Multipart, 'context'>;

/** Takes the context; what came before it may be reason enough to refuse it unread. */
export type StageUpload = (upload: ArchiveUpload, before: FormSoFar) => Promise<StagedContext>;

const maxDockerfileBytes = 1024 * 1024;
/** Everything in the form but its files: what a Dockerfile's build arguments can hold, with room. */
const maxFormBytes = 4 * 1024 * 1024;

/** What may lie between two stages while the next is busy. */
const bufferBytes = 256 * 1024;

const limits: multer.Options['limits'] & { fieldArrayIndexLimit: number } = {
  files: 2,
  fields: 600,
  parts: 602,
  fieldSize: 65 * 1024,
  fieldNameSize: 100,
  headerPairs: 20,
  fieldNestingDepth: 0,
  fieldArrayIndexLimit: 0,
};

/**
 * Reads a multipart body. The context goes into `stage` as it arrives, whether the fields come before or after it.
 * On failure nothing that was staged is left.
 * @throws KilnError MULTIPART_INVALID, MULTIPART_FIELD, and those of `stage`
 */
export async function readMultipart(
  request: Request,
  stage: StageUpload,
  signal: AbortSignal,
): Promise<Multipart> {
  const form = new FormRequest(request);
  const files = new FileParts(stage, form);
  const giveUp = (): void => form.fail(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await runMulter(form, files);
    return { fields: readTextFields(form.body), context: files.context, dockerfile: files.dockerfile };
  } catch (error) {
    await files.discard();
    throw toKilnError(error);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function runMulter(form: FormRequest, storage: FileParts): Promise<void> {
  const options = {
    storage,
    limits,
    ...{ highWaterMark: bufferBytes, fileHwm: bufferBytes },
    streamHandler(_form: FormRequest, parser: NodeJS.WritableStream) {
      mendPartHeaders(parser, (error) => form.fail(error));
      form.pipe(parser);
    },
  };
  const receive = multer(options).fields([
    { name: 'context', maxCount: 1 },
    { name: 'dockerfile', maxCount: 1 },
  ]);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Of the response multer reads nothing.
  receive(form as unknown as Request, {} as Response, (error: unknown) => {
    if (error) reject(error);
    else resolve();
  });
  return promise;
}

/**
 * What multer sees of the request: its headers, and how it fails. The body goes to the parser without it, and the connection
 * stays as it is, so that giving up leaves both for the answer.
 */
class FormRequest extends EventEmitter {
  readonly headers: Request['headers'];
  /** Where multer puts the text fields. */
  body: unknown = {};
  /** On a failure multer would read the body to its end before it says so; whoever answers does. */
  readonly readable = false;
  readonly #request: Request;
  #formBytes = 0;

  constructor(request: Request) {
    super();
    this.#request = request;
    this.headers = request.headers;
  }

  pipe(parser: NodeJS.WritableStream): void {
    this.#request.on('data', this.#count).pipe(parser);
  }

  /** multer calls it at the end, whatever that is. */
  unpipe(parser: NodeJS.WritableStream): void {
    this.#request.off('data', this.#count).unpipe(parser);
  }

  /** Nothing: whoever answers reads on what is still coming. */
  resume(): void {}

  fail(reason: unknown): void {
    this.emit('error', reason);
  }

  /** Bytes that were given on as part of a file. */
  creditFile(bytes: number): void {
    this.#formBytes -= bytes;
  }

  readonly #count = (chunk: Buffer): void => {
    this.#formBytes += chunk.length;
    if (this.#formBytes > maxFormBytes) this.fail(formTooLarge());
  };
}

/** multer's storage, without storing: each file part is a stream, given on as it arrives. */
class FileParts implements multer.StorageEngine {
  context: StagedContext | null = null;
  dockerfile: Buffer | null = null;
  readonly #stage: StageUpload;
  readonly #form: FormRequest;
  readonly #received: Promise<void>[] = [];

  constructor(stage: StageUpload, form: FormRequest) {
    this.#stage = stage;
    this.#form = form;
  }

  _handleFile(_request: Request, file: Express.Multer.File, done: (error?: unknown) => void): void {
    const bytes = new ChunkReader(file.stream, (count) => this.#form.creditFile(count));
    const received =
      file.fieldname === 'context'
        ? this.#takeContext(
            { bytes, declared: declaredFormat(file.mimetype, file.originalname) },
            // multer has put there what came so far, and files end before the next part begins.
            Promise.all(this.#received),
          )
        : this.#takeDockerfile(bytes);
    this.#received.push(received);
    received.then(() => done(), done);
  }

  /** multer asks for it after a failure; `discard` does it. */
  _removeFile(_request: Request, _file: Express.Multer.File, done: (error: Error | null) => void): void {
    done(null);
  }

  /** Leaves nothing, also of what is still being received. */
  async discard(): Promise<void> {
    await Promise.allSettled(this.#received);
    await this.context?.[Symbol.asyncDispose]();
  }

  async #takeContext(upload: ArchiveUpload, filesBefore: Promise<unknown>): Promise<void> {
    await filesBefore;
    const { dockerfile } = this;
    this.context = await this.#stage(upload, { fields: readTextFields(this.#form.body), dockerfile });
  }

  async #takeDockerfile(bytes: AsyncIterable<Buffer>): Promise<void> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of bytes) {
      size += chunk.length;
      if (size > maxDockerfileBytes) {
        const message = `The Dockerfile is larger than ${maxDockerfileBytes} bytes.`;
        throw new KilnError('DOCKERFILE_INVALID', message, { details: { limit: maxDockerfileBytes } });
      }
      chunks.push(chunk);
    }
    this.dockerfile = Buffer.concat(chunks);
  }
}

function formTooLarge(): KilnError {
  return new KilnError(
    'MULTIPART_FIELD',
    `The form is larger than ${maxFormBytes} bytes without its files.`,
    {
      details: { limit: maxFormBytes },
    },
  );
}

function readTextFields(body: unknown): Fields {
  const entries = Object.entries(typeof body === 'object' && body !== null ? body : {});
  return new Map(entries.map(([name, value]) => [name, [value].flat().map((text) => readText(name, text))]));
}

/** Of a text in a charset it does not know the parser makes nothing at all. */
function readText(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  throw new KilnError('MULTIPART_FIELD', `Field '${printable(name)}' is in an unknown charset; send UTF-8.`);
}

function toKilnError(error: unknown): KilnError {
  if (error instanceof MulterError) {
    const where = error.field === undefined ? '' : `, in '${printable(error.field, 100)}'`;
    const message = fieldProblems[error.code] ?? error.message;
    return new KilnError('MULTIPART_FIELD', `The form is not as expected: ${message}${where}.`, {
      cause: error,
    });
  }
  const known = KilnError.from(error);
  // What failed is the form itself, seen by whoever was reading a part of it.
  const origin = known.code === 'INTERNAL' ? known.cause : null;
  if (!(origin instanceof Error) || !/^(Multipart|Malformed|Unexpected end)/.test(origin.message))
    return known;
  return new KilnError('MULTIPART_INVALID', `The form cannot be read: ${origin.message}.`, { cause: origin });
}

const fieldProblems: Readonly<Record<string, string>> = {
  LIMIT_UNEXPECTED_FILE: "files are 'context' and 'dockerfile', each at most once",
  LIMIT_FILE_COUNT: "files are 'context' and 'dockerfile', each at most once",
  LIMIT_FIELD_VALUE: 'a value is longer than 64 KiB',
  LIMIT_FIELD_KEY: 'a name is longer than 100 characters',
  LIMIT_FIELD_NESTING: 'names have no brackets; give a field several times instead',
  LIMIT_FIELD_COUNT: 'there are more than 600 fields',
  LIMIT_PART_COUNT: 'there are more than 602 parts',
  MISSING_FIELD_NAME: 'a part has no name',
};
