import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { RoomWatch, refuseWithoutRoom } from '../host/disk-room.ts';
import { removeQuietly } from '../lib/files.ts';
import { ThreadHash } from '../lib/thread-hash.ts';
import type { ArchiveUpload, ContextLimits, StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { ErofsImage } from './erofs/erofs-image.ts';
import { type ArchiveFormat, detectFormat, sniffBytes } from './formats.ts';
import { gather } from './gather.ts';
import { gunzip } from './gunzip.ts';
import { MemberRules } from './member-rules.ts';
import { MemoryBudget } from './memory-budget.ts';
import { createStagedContext } from './staged-context.ts';
import { TarWalker } from './tar/tar-walker.ts';
import { findTwins } from './twins.ts';
import { UploadReader } from './upload-reader.ts';
import { Warnings } from './warnings.ts';
import { type UnzipOptions, unzipToTar } from './zip/unzip.ts';

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
export async function stageContext(upload: ArchiveUpload, options: StageOptions): Promise<StagedContext> {
  await refuseWithoutRoom(options.directory, options.minFreeBytes);
  const path = join(options.directory, `${randomUUID()}.erofs`);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(path));
  // Whatever is refused, the sender is told to stop.
  using input = new UploadReader(upload, options.limits.maxUploadBytes, options.signal);
  await using file = await open(path, 'wx', 0o600);
  try {
    const format = detectFormat(await input.peek(sniffBytes), upload.declared);
    const memory = new MemoryBudget();
    const noted = new Warnings();
    const mayRepeat = format !== 'zip';
    const rules = new MemberRules({
      maxMembers: options.limits.maxEntries,
      mayRepeat,
      memory,
      warnings: noted,
    });
    const image = new ErofsImage(rules.root, memory);
    const tar = decode(input, format, { ...options, warnings: noted });
    const { size, digest } = await writeChecked(tar, { file, rules, image, input }, options);
    const warnings = [...noted.list(), ...(await findTwins(rules.root))];
    undo.move();
    return createStagedContext({
      path,
      root: rules.root,
      summary: { digest: `sha256:${digest}`, size, entries: rules.count, warnings },
    });
  } catch (error) {
    options.signal.throwIfAborted();
    throw KilnError.from(error);
  }
}

/** The archive as a plain tar. */
function decode(input: UploadReader, format: ArchiveFormat, options: UnzipOptions): AsyncIterable<Buffer> {
  if (format === 'tar') return input.chunks();
  return format === 'gzip' ? gunzip(gather(input.chunks())) : unzipToTar(input.chunks(), options);
}

async function writeChecked(
  tar: AsyncIterable<Buffer>,
  {
    file,
    rules,
    image,
    input,
  }: { file: FileHandle; rules: MemberRules; image: ErofsImage; input: UploadReader },
  { directory, limits, minFreeBytes, signal }: StageOptions,
): Promise<{ size: number; digest: string }> {
  const walker = new TarWalker(rules, image);
  using hash = new ThreadHash();
  const room = new RoomWatch(directory, minFreeBytes);
  let size = 0;
  let used: Promise<unknown> = Promise.resolve();
  for await (const block of gather(tar)) {
    signal.throwIfAborted();
    size += block.length;
    if (size > limits.maxBytes) throw tooLarge(limits.maxBytes);
    if (size > input.bytes * maxRatio + ratioLeadBytes) throw bomb();
    walker.push(block);
    await used;
    // While the next block arrives.
    used = Promise.all([writeAll(file, image.take(), room), hash.update(block)]);
    used.catch(() => undefined);
  }
  await used;
  walker.end();
  if (size > ratioFreeBytes && size > input.bytes * maxRatio) throw bomb();
  await writeRest(image, { file, room }, signal);
  return { size, digest: await hash.digest() };
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
