import { EventEmitter } from 'node:events';
import type { Request, Response } from 'express';
import multer, { MulterError } from 'multer';
import { ChunkReader } from '../../lib/chunk-reader.ts';
import { printable } from '../../lib/text.ts';
import type { ArchiveUpload } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import { maxNamedContexts } from '../../model/named-context.ts';
import { declaredFormat } from './archive-types.ts';
import { contextPrefix, type Fields } from './fields.ts';
import { mendPartHeaders } from './part-headers.ts';
import { isSecretPart, maxSecretFiles, readSecret, type SecretPart, takeSecrets } from './secret-parts.ts';

/** What a form held besides its archives, or what came of that so far. */
export type Form = {
  readonly fields: Fields;
  readonly dockerfile: Buffer | null;
  /** What nobody may see. */
  readonly secrets: readonly SecretPart[];
  /** Names of the contexts that came as files, that of the one that comes now among them. */
  readonly archives: readonly string[];
};

/** Takes an archive: the context itself, `null`, or a named one. What came before it may be reason enough to refuse it unread. */
export type TakeArchive = (name: string | null, upload: ArchiveUpload, before: Form) => Promise<unknown>;

const maxDockerfileBytes = 1024 * 1024;
/** Everything in the form but its files: what a Dockerfile's build arguments can hold, with room. */
const maxFormBytes = 4 * 1024 * 1024;

const maxFields = 600;
/** With the context and the Dockerfile. */
const maxFiles = 2 + maxNamedContexts + maxSecretFiles;

/** What may lie between two stages while the next is busy. */
const bufferBytes = 256 * 1024;

const limits: multer.Options['limits'] & { fieldArrayIndexLimit: number } = {
  files: maxFiles,
  fields: maxFields,
  parts: maxFields + maxFiles,
  fieldSize: 65 * 1024,
  fieldNameSize: 150,
  headerPairs: 20,
  fieldNestingDepth: 0,
  fieldArrayIndexLimit: 0,
};

/**
 * Reads a multipart body. Archives go into `take` as they arrive, one after the other, whether the fields come before or after
 * them. On failure nothing is being taken any more.
 * @throws KilnError MULTIPART_INVALID, MULTIPART_FIELD, and those of `take`
 */
export async function readMultipart(request: Request, take: TakeArchive, signal: AbortSignal): Promise<Form> {
  const form = new FormRequest(request);
  const files = new FileParts(take, form);
  const giveUp = (): void => form.fail(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await runMulter(form, files);
    return files.soFar();
  } catch (error) {
    await files.settled();
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
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  // Which files there may be, the storage knows. Of the response multer reads nothing.
  multer(options).any()(form as unknown as Request, {} as Response, (error: unknown) => {
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
  #dockerfile: Buffer | null = null;
  readonly #secrets: SecretPart[] = [];
  readonly #take: TakeArchive;
  readonly #form: FormRequest;
  /** Names of the parts. */
  readonly #names = new Set<string>();
  readonly #received: Promise<unknown>[] = [];

  constructor(take: TakeArchive, form: FormRequest) {
    this.#take = take;
    this.#form = form;
  }

  _handleFile(_request: Request, file: Express.Multer.File, done: (error?: unknown) => void): void {
    const received = this.#receive(file);
    this.#received.push(received);
    received.then(() => done(), done);
  }

  /** multer asks for it after a failure; whoever took the archives does it. */
  _removeFile(_request: Request, _file: Express.Multer.File, done: (error: Error | null) => void): void {
    done(null);
  }

  /** Also what is still being received has come to its end. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#received);
  }

  soFar(): Form {
    const archives = [...this.#names].flatMap((name) => (isContextName(name) ? [contextNameOf(name)] : []));
    const { fields, secrets } = takeSecrets(readTextFields(this.#form.body));
    return { fields, dockerfile: this.#dockerfile, secrets: [...this.#secrets, ...secrets], archives };
  }

  async #receive({ fieldname: part, stream, mimetype, originalname }: Express.Multer.File): Promise<void> {
    const isKnown = part === 'context' || part === 'dockerfile' || isContextName(part) || isSecretPart(part);
    if (!isKnown || this.#names.has(part)) throw new MulterError('LIMIT_UNEXPECTED_FILE', part);
    this.#names.add(part);
    const bytes = new ChunkReader(stream, (count) => this.#form.creditFile(count));
    if (part === 'dockerfile') return this.#takeDockerfile(bytes);
    if (isSecretPart(part)) return this.#takeSecret(part, bytes);
    // multer has put there what came so far, and files end before the next part begins.
    await Promise.all(this.#received);
    const name = part === 'context' ? null : contextNameOf(part);
    await this.#take(name, { bytes, declared: declaredFormat(mimetype, originalname) }, this.soFar());
  }

  async #takeSecret(part: string, bytes: AsyncIterable<Buffer>): Promise<void> {
    const before = this.#secrets.reduce((sum, { value }) => sum + value.length, 0);
    this.#secrets.push(await readSecret(part, bytes, before));
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
    this.#dockerfile = Buffer.concat(chunks);
  }
}

function isContextName(part: string): boolean {
  return part.startsWith(contextPrefix);
}

function contextNameOf(part: string): string {
  return part.slice(contextPrefix.length);
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
  LIMIT_UNEXPECTED_FILE:
    "files are 'context', 'dockerfile', 'build-context.NAME', 'registry-config', 'secret.ID' and 'ssh.ID', each at most once",
  LIMIT_FILE_COUNT: `there are more than ${maxFiles} files`,
  LIMIT_FIELD_VALUE: 'a value is longer than 64 KiB',
  LIMIT_FIELD_KEY: 'a name is longer than 150 characters',
  LIMIT_FIELD_NESTING: 'names have no brackets; give a field several times instead',
  LIMIT_FIELD_COUNT: `there are more than ${maxFields} fields`,
  LIMIT_PART_COUNT: `there are more than ${maxFields + maxFiles} parts`,
  MISSING_FIELD_NAME: 'a part has no name',
};
