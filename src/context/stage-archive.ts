import { ThreadHash } from '../lib/thread-hash.ts';
import type { ContextSummary } from '../model/build.ts';
import type { ArchiveUpload, ContextLimits } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import type { Decoders } from './compression/decoders.ts';
import { decompress } from './compression/decompress.ts';
import type { ErofsImage } from './erofs/erofs-image.ts';
import { type ArchiveFormat, detectFormat, sniffBytes } from './formats.ts';
import { gather } from './gather.ts';
import type { ImageFile } from './image-file.ts';
import type { MemberCount } from './member-count.ts';
import { MemberRules } from './member-rules.ts';
import type { FolderNode } from './member-tree.ts';
import type { MemoryBudget } from './memory-budget.ts';
import { TarWalker } from './tar/tar-walker.ts';
import { findTwins } from './twins.ts';
import type { UnpackedSize } from './unpacked-size.ts';
import { type UploadedBytes, UploadReader } from './upload-reader.ts';
import { Warnings } from './warnings.ts';
import { unzipToTar } from './zip/unzip.ts';

/** What all archives of a build have in common: where they go, and what of them is counted together. */
export type ArchiveTarget = {
  readonly image: ErofsImage;
  readonly output: ImageFile;
  readonly uploaded: UploadedBytes;
  readonly unpacked: UnpackedSize;
  readonly members: MemberCount;
  readonly memory: MemoryBudget;
  readonly decoders: Decoders;
  readonly limits: ContextLimits;
  /** For what of an archive must lie in a file before it can be read. */
  readonly directory: string;
  readonly minFreeBytes: number;
  readonly signal: AbortSignal;
};

/** The names of an archive whose contents are in the image. */
export type StagedArchive = { readonly root: FolderNode; readonly summary: ContextSummary };

/**
 * Streams an archive through the guard: bytes → format → plain tar → every member checked → the image. Nothing is unpacked here, and
 * memory does not grow with the archive.
 */
export async function stageArchive(upload: ArchiveUpload, target: ArchiveTarget): Promise<StagedArchive> {
  const { image, members, memory, signal } = target;
  // Whatever is refused, the sender is told to stop.
  using input = new UploadReader(upload, target.uploaded, signal);
  try {
    const format = detectFormat(await input.peek(sniffBytes), upload.declared);
    const noted = new Warnings();
    const rules = new MemberRules({ members, mayRepeat: format !== 'zip', memory, warnings: noted });
    const tar = decode(input, format, { ...target, warnings: noted });
    const { size, digest } = await writeChecked(tar, new TarWalker(rules, image, target.unpacked), target);
    const warnings = [...noted.list(), ...(await findTwins(rules.root))];
    return {
      root: rules.root,
      summary: { digest: `sha256:${digest}`, size, entries: rules.count, warnings },
    };
  } catch (error) {
    signal.throwIfAborted();
    throw KilnError.from(error);
  }
}

/** The archive as a plain tar. */
function decode(
  input: UploadReader,
  format: ArchiveFormat,
  options: ArchiveTarget & { readonly warnings: Warnings },
): AsyncIterable<Buffer> {
  if (format === 'tar') return input.chunks();
  if (format === 'zip') return unzipToTar(input.chunks(), options);
  return decompress(input.chunks(), format, options);
}

async function writeChecked(
  tar: AsyncIterable<Buffer>,
  walker: TarWalker,
  { image, output, unpacked, signal }: ArchiveTarget,
): Promise<{ size: number; digest: string }> {
  using hash = new ThreadHash();
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
  return { size, digest: await hash.digest() };
}
