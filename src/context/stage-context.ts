import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { RoomWatch, refuseWithoutRoom } from '../host/disk-room.ts';
import { raceAbort } from '../lib/abort.ts';
import { removeQuietly } from '../lib/files.ts';
import type { ArchiveUpload, ContextLimits, StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { ErofsImage } from './erofs/erofs-image.ts';
import { detectFormat, sniffBytes } from './formats.ts';
import { gunzip } from './gunzip.ts';
import { MemberRules } from './member-rules.ts';
import { MemoryBudget } from './memory-budget.ts';
import { rechunk } from './rechunk.ts';
import { createStagedContext } from './staged-context.ts';
import { TarWalker } from './tar/tar-walker.ts';
import { findTwins } from './twins.ts';
import { unzipToTar } from './zip/unzip.ts';

export type StageOptions = {
  /** Holds the staged files until the build takes them. */
  readonly directory: string;
  readonly limits: ContextLimits & { readonly maxUploadBytes: number };
  /** What the disk must have left, at the beginning and all along. */
  readonly minFreeBytes: number;
  readonly signal: AbortSignal;
};

/** An archive that unpacks to more than this many times its size is a bomb. Small ones are not judged: they may well be text. */
const maxRatio = 100;
const ratioFreeBytes = 10 * 1024 * 1024;
/** An archive may begin with much that compresses well, such as zeros: while it arrives, it may be this many bytes beyond its ratio. */
const ratioLeadBytes = 256 * 1024 * 1024;

/**
 * Streams an archive through the guard: bytes → format → plain tar → every member checked → the image of a read-only file
 * system, which only the guest mounts. Nothing is unpacked here, and memory does not grow with the archive. On any failure nothing is left behind.
 */
export async function stageContext(
  { bytes, declared }: ArchiveUpload,
  options: StageOptions,
): Promise<StagedContext> {
  await refuseWithoutRoom(options.directory, options.minFreeBytes);
  const path = join(options.directory, `${randomUUID()}.erofs`);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(path));
  const memory = new MemoryBudget();
  const rules = new MemberRules(options.limits.maxEntries, memory);
  const image = new ErofsImage(rules.root, memory);
  const input = new Counted(bytes, options);
  await using file = await open(path, 'wx', 0o600);
  try {
    const tar = await decode(input, declared, options);
    const { size, digest } = await writeChecked(tar, { file, rules, image, input }, options);
    const warnings = await findTwins(rules.root);
    undo.move();
    return createStagedContext({
      path,
      root: rules.root,
      summary: { digest: `sha256:${digest}`, size, entries: rules.count, warnings },
    });
  } catch (error) {
    // Whatever was refused, the sender is told to stop.
    void input.chunks.return(undefined);
    options.signal.throwIfAborted();
    throw KilnError.from(error);
  }
}

/** The archive as a plain tar. */
async function decode(
  input: Counted,
  declared: ArchiveUpload['declared'],
  options: StageOptions,
): Promise<AsyncIterable<Buffer>> {
  const { head, all } = await peek(input.chunks, sniffBytes);
  const format = detectFormat(head, declared);
  if (format === 'tar') return all;
  return format === 'gzip' ? gunzip(rechunk(all)) : unzipToTar(all, options);
}

async function writeChecked(
  tar: AsyncIterable<Buffer>,
  { file, rules, image, input }: { file: FileHandle; rules: MemberRules; image: ErofsImage; input: Counted },
  { directory, limits, minFreeBytes, signal }: StageOptions,
): Promise<{ size: number; digest: string }> {
  const walker = new TarWalker(rules, image);
  const hash = createHash('sha256');
  const room = new RoomWatch(directory, minFreeBytes);
  let size = 0;
  for await (const chunk of rechunk(tar)) {
    signal.throwIfAborted();
    size += chunk.length;
    if (size > limits.maxBytes) throw tooLarge(limits.maxBytes);
    if (size > input.bytes * maxRatio + ratioLeadBytes) throw bomb();
    walker.push(chunk);
    const written = writeAll(file, image.take(), room);
    // While the disk is busy.
    hash.update(chunk);
    await written;
  }
  walker.end();
  if (size > ratioFreeBytes && size > input.bytes * maxRatio) throw bomb();
  await writeRest(image, { file, room }, signal);
  return { size, digest: hash.digest('hex') };
}

/** Without joining them: most are views of one chunk, or the same zeros. */
async function writeAll(file: FileHandle, buffers: Buffer[], room: RoomWatch): Promise<void> {
  const bytes = buffers.reduce((sum, { length }) => sum + length, 0);
  const [only] = buffers;
  if (only && buffers.length === 1) {
    await file.writeFile(only);
  } else if (only) {
    const { bytesWritten } = await file.writev(buffers);
    if (bytesWritten < bytes) await file.writeFile(Buffer.concat(buffers).subarray(bytesWritten));
  }
  await room.wrote(bytes);
}

async function writeRest(
  image: ErofsImage,
  { file, room }: { file: FileHandle; room: RoomWatch },
  signal: AbortSignal,
): Promise<void> {
  const rest = image.finish();
  for (;;) {
    signal.throwIfAborted();
    const { done, value } = await rest.next();
    if (done) {
      await file.write(value, 0, value.length, 0);
      return;
    }
    await writeAll(file, value, room);
  }
}

/** The upload as it comes in: counted, limited, and ended by the signal even while it is silent. */
class Counted {
  bytes = 0;
  readonly chunks: AsyncGenerator<Buffer>;

  constructor(source: AsyncIterable<Buffer>, options: StageOptions) {
    this.chunks = this.#count(source, options);
  }

  async *#count(
    source: AsyncIterable<Buffer>,
    { signal, limits }: StageOptions,
  ): AsyncGenerator<Buffer, undefined> {
    const iterator = source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { done, value } = await raceAbort(iterator.next(), signal);
        if (done) return;
        this.bytes += value.length;
        if (this.bytes > limits.maxUploadBytes) throw uploadTooLarge(limits.maxUploadBytes);
        yield value;
      }
    } finally {
      // Not awaited: a source that never speaks again would never return either.
      void iterator.return?.()?.catch(() => undefined);
    }
  }
}

/** The first bytes, at least `length` where there are as many, and all of the stream including them. */
async function peek(
  iterator: AsyncGenerator<Buffer>,
  length: number,
): Promise<{ head: Buffer; all: AsyncIterable<Buffer> }> {
  let head = Buffer.alloc(0);
  while (head.length < length) {
    const { done, value } = await iterator.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  return { head: head.subarray(0, length), all: prepend(head, iterator) };
}

async function* prepend(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}

function uploadTooLarge(limit: number): KilnError {
  return new KilnError(
    'UPLOAD_TOO_LARGE',
    `The upload is larger than ${limit} bytes; leave out what the build does not need.`,
    {
      details: { limit },
    },
  );
}

function tooLarge(limit: number): KilnError {
  return new KilnError(
    'ARCHIVE_TOO_LARGE',
    `The archive unpacks to more than ${limit} bytes; leave out what the build does not need.`,
    { details: { limit } },
  );
}

function bomb(): KilnError {
  const message = `The archive unpacks to more than ${maxRatio} times its size, as only archives do that are made to fill disks; leave out large files that hold nothing but zeros.`;
  return new KilnError('ARCHIVE_TOO_LARGE', message, { details: { limit: maxRatio } });
}
