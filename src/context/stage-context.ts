import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { RoomWatch, refuseWithoutRoom } from '../host/disk-room.ts';
import { removeQuietly } from '../lib/files.ts';
import { ThreadHash } from '../lib/thread-hash.ts';
import type { ArchiveUpload, ContextLimits, StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { Decoders } from './compression/decoders.ts';
import { decompress } from './compression/decompress.ts';
import { ErofsImage } from './erofs/erofs-image.ts';
import { type ArchiveFormat, detectFormat, sniffBytes } from './formats.ts';
import { gather } from './gather.ts';
import { ImageFile } from './image-file.ts';
import { MemberRules } from './member-rules.ts';
import { MemoryBudget, SharedMemory } from './memory-budget.ts';
import { createStagedContext } from './staged-context.ts';
import { TarWalker } from './tar/tar-walker.ts';
import { findTwins } from './twins.ts';
import { UnpackedSize } from './unpacked-size.ts';
import { UploadReader } from './upload-reader.ts';
import { Warnings } from './warnings.ts';
import { type UnzipOptions, unzipToTar } from './zip/unzip.ts';

export type StageOptions = {
  /** Holds the staged files until the build takes them. */
  readonly directory: string;
  readonly limits: ContextLimits & { readonly maxUploadBytes: number };
  /** What the disk must have left, at the beginning and all along. */
  readonly minFreeBytes: number;
  /** Of all that are staged at once; by default nothing is shared. */
  readonly memory?: SharedMemory;
  readonly decoders?: Decoders;
  readonly signal: AbortSignal;
};

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
    const memory = undo.use(new MemoryBudget(options.memory ?? new SharedMemory()));
    const noted = new Warnings();
    const mayRepeat = format !== 'zip';
    const rules = new MemberRules({
      maxMembers: options.limits.maxEntries,
      mayRepeat,
      memory,
      warnings: noted,
    });
    const image = new ErofsImage(rules.root, memory);
    const tar = decode(input, format, { ...options, warnings: noted, memory });
    const { size, digest } = await writeChecked(tar, { file, rules, image, input }, options);
    const warnings = [...noted.list(), ...(await findTwins(rules.root))];
    undo.move();
    return createStagedContext({
      path,
      root: rules.root,
      memory,
      summary: { digest: `sha256:${digest}`, size, entries: rules.count, warnings },
    });
  } catch (error) {
    options.signal.throwIfAborted();
    throw KilnError.from(error);
  }
}

/** The archive as a plain tar. */
function decode(
  input: UploadReader,
  format: ArchiveFormat,
  options: UnzipOptions & Omit<StageOptions, 'memory'>,
): AsyncIterable<Buffer> {
  if (format === 'tar') return input.chunks();
  if (format === 'zip') return unzipToTar(input.chunks(), options);
  return decompress(input.chunks(), format, {
    ...options,
    decoders: options.decoders ?? new Decoders(),
  });
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
  const unpacked = new UnpackedSize(limits.maxBytes, input);
  const walker = new TarWalker(rules, image, unpacked);
  using hash = new ThreadHash();
  const output = new ImageFile(file, new RoomWatch(directory, minFreeBytes));
  let size = 0;
  let used: Promise<unknown> = Promise.resolve();
  for await (const block of gather(tar)) {
    signal.throwIfAborted();
    size += block.length;
    unpacked.add(block.length);
    walker.push(block);
    await used;
    // While the next block arrives.
    used = Promise.all([output.write(image.take()), hash.update(block)]);
    used.catch(() => undefined);
  }
  await used;
  walker.end();
  unpacked.end();
  await writeRest(image, output, signal);
  return { size, digest: await hash.digest() };
}

async function writeRest(image: ErofsImage, output: ImageFile, signal: AbortSignal): Promise<void> {
  const rest = image.finish();
  for (;;) {
    signal.throwIfAborted();
    const { done, value } = await rest.next();
    if (done) {
      await output.writeFirst(value);
      return;
    }
    await output.write(value);
  }
}
