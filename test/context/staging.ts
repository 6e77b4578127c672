import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStaging, type StagingOptions } from '../../src/context/context-staging.ts';
import type { ContextSummary } from '../../src/model/build.ts';
import type { ArchiveUpload, ContextStaging, SealedContexts } from '../../src/model/context.ts';
import { type ErrorCode, KilnError } from '../../src/model/error.ts';

const GiB = 1024 ** 3;

export type Limits = Partial<StagingOptions['limits']>;

/** A build's own context and no other. */
export type StagedContext = ContextStaging & { readonly summary: ContextSummary };

export type SealedContext = SealedContexts & { readonly summary: ContextSummary };

export async function stageContext(upload: ArchiveUpload, options: StagingOptions): Promise<StagedContext> {
  const staging = await openStaging(options);
  await staging.add(null, upload);
  assert.ok(staging.summary);
  return staging as StagedContext;
}

/** A staging directory of its own; disposing removes it. */
export class Staging implements AsyncDisposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async create(): Promise<Staging> {
    return new Staging(await mkdtemp(join(tmpdir(), 'kiln-staging-')));
  }

  stage(
    upload: Buffer | AsyncIterable<Buffer>,
    limits: Limits = {},
    signal = new AbortController().signal,
    declared: ArchiveUpload['declared'] = null,
  ): Promise<StagedContext> {
    const bytes = Buffer.isBuffer(upload) ? inChunks(upload) : upload;
    return stageContext(
      { bytes, declared },
      {
        directory: this.directory,
        minFreeBytes: 0,
        limits: { maxBytes: 4 * GiB, maxUploadBytes: 4 * GiB, maxEntries: 200_000, ...limits },
        signal,
      },
    );
  }

  /** As a build holds it, with the place of its image. */
  async stageSealed(upload: Buffer | AsyncIterable<Buffer>): Promise<SealedContext> {
    const staged = await this.stage(upload);
    const sealed = await staged.seal({ dockerfile: null }, { customFrontends: false });
    return { ...sealed, summary: staged.summary };
  }

  files(): Promise<string[]> {
    return readdir(this.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true });
  }
}

export async function accept(upload: Buffer, limits: Limits = {}): Promise<StagedContext['summary']> {
  await using staging = await Staging.create();
  await using staged = await staging.stage(upload, limits);
  return staged.summary;
}

/** Asserts that the upload is refused with one of the codes and that no file is left; returns the error. */
export async function refuseWith(
  codes: ErrorCode | readonly ErrorCode[],
  upload: Buffer,
  limits: Limits = {},
): Promise<KilnError> {
  await using staging = await Staging.create();
  const error = await staging.stage(upload, limits).then(
    () => assert.fail(`accepted, expected ${String(codes)}`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof KilnError, String(error));
  assert.ok(
    [codes].flat().includes(error.code),
    `${error.code}, expected ${String(codes)}: ${error.message}`,
  );
  assert.deepEqual(await staging.files(), []);
  return error;
}

/** Odd, so that no chunk ends where a block does. */
export async function* inChunks(bytes: Buffer, size = 1021): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}
