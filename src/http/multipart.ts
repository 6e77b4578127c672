import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Request, Response } from 'express';
import multer, { MulterError } from 'multer';
import type { StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import type { Fields } from './fields.ts';

/** What a multipart body held. */
export type Multipart = {
  readonly fields: Fields;
  readonly context: StagedContext | null;
  readonly dockerfile: Buffer | null;
};

export type StageUpload = (upload: Readable) => Promise<StagedContext>;

const maxDockerfileBytes = 1024 * 1024;
const limits = {
  files: 2,
  fields: 600,
  parts: 602,
  fieldSize: 64 * 1024 + 300,
  fieldNameSize: 100,
  headerPairs: 20,
  fieldNestingDepth: 0,
  fieldArrayIndexLimit: 0,
};

/**
 * Reads a multipart body. The context goes into `stage` as it arrives, whether the fields come before or after it.
 * On failure nothing that was staged is left. @throws KilnError MULTIPART_INVALID, MULTIPART_FIELD, and those of `stage`
 */
export async function readMultipart(
  request: Request,
  response: Response,
  stage: StageUpload,
): Promise<Multipart> {
  const storage = new StreamingStorage(stage);
  const receive = multer({ storage, limits }).fields([
    { name: 'context', maxCount: 1 },
    { name: 'dockerfile', maxCount: 1 },
  ]);
  try {
    await new Promise<void>((resolve, reject) => {
      receive(request, response, (error: unknown) => (error === undefined ? resolve() : reject(error)));
    });
    return { fields: readTextFields(request.body), context: storage.context, dockerfile: storage.dockerfile };
  } catch (error) {
    await storage.context?.[Symbol.asyncDispose]();
    throw toKilnError(error);
  }
}

/** multer's storage, without storing: each file part is a stream, given on as it arrives. */
class StreamingStorage implements multer.StorageEngine {
  context: StagedContext | null = null;
  dockerfile: Buffer | null = null;
  readonly #stage: StageUpload;

  constructor(stage: StageUpload) {
    this.#stage = stage;
  }

  _handleFile(_request: Request, file: Express.Multer.File, done: (error?: unknown) => void): void {
    const received =
      file.fieldname === 'context' ? this.#receiveContext(file.stream) : this.#receiveDockerfile(file.stream);
    received.then(() => done(), done);
  }

  /** multer asks for it after a failure; `readMultipart` disposes what there is. */
  _removeFile(_request: Request, _file: Express.Multer.File, done: (error: Error | null) => void): void {
    done(null);
  }

  async #receiveContext(stream: Readable): Promise<void> {
    this.context = await this.#stage(stream);
  }

  async #receiveDockerfile(stream: Readable): Promise<void> {
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxDockerfileBytes) return;
      stream.destroy(
        new KilnError('DOCKERFILE_INVALID', `The Dockerfile is larger than ${maxDockerfileBytes} bytes.`),
      );
    });
    this.dockerfile = await buffer(stream);
  }
}

function readTextFields(body: unknown): Fields {
  const entries = Object.entries(typeof body === 'object' && body !== null ? body : {});
  return new Map(
    entries.map(([name, value]) => [name, (Array.isArray(value) ? value : [value]).map(String)]),
  );
}

function toKilnError(error: unknown): KilnError {
  if (error instanceof KilnError) return error;
  if (error instanceof MulterError) {
    const where = error.field === undefined ? '' : ` ('${error.field.slice(0, 100)}')`;
    return new KilnError('MULTIPART_FIELD', `The form is not as expected: ${error.message}${where}.`, {
      cause: error,
    });
  }
  // busboy's own errors: no boundary, a cut end, a bad part header.
  const kiln = KilnError.from(error);
  if (kiln.code !== 'INTERNAL' || !(error instanceof Error)) return kiln;
  return new KilnError('MULTIPART_INVALID', `The form cannot be read: ${error.message}.`, { cause: error });
}
