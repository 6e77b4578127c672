import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { RoomWatch, refuseWithoutRoom } from '../host/disk-room.ts';
import { removeQuietly } from '../lib/files.ts';
import type { ContextSummary } from '../model/build.ts';
import type {
  ArchiveUpload,
  ContextLimits,
  ContextPaths,
  ContextStaging,
  DockerfilePolicy,
  SealedContexts,
} from '../model/context.ts';
import { normalizeNames } from '../model/named-context.ts';
import { Decoders } from './compression/decoders.ts';
import { ErofsImage } from './erofs/erofs-image.ts';
import { ImageFile } from './image-file.ts';
import { MemberCount } from './member-count.ts';
import { MemoryBudget, SharedMemory } from './memory-budget.ts';
import { ofContext } from './of-context.ts';
import { checkContexts } from './seal-contexts.ts';
import { type ArchiveTarget, type StagedArchive, stageArchive } from './stage-archive.ts';
import { UnpackedSize } from './unpacked-size.ts';
import { UploadedBytes } from './upload-reader.ts';

export type StagingOptions = {
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

/** Begins the image of a build's contexts. @throws KilnError NO_CAPACITY */
export async function openStaging(options: StagingOptions): Promise<ContextStaging> {
  const { directory, minFreeBytes, limits } = options;
  await refuseWithoutRoom(directory, minFreeBytes);
  const path = join(directory, `${randomUUID()}.erofs`);
  const opened = new AsyncDisposableStack();
  const file = opened.use(await open(path, 'wx', 0o600));
  const memory = opened.use(new MemoryBudget(options.memory ?? new SharedMemory()));
  const uploaded = new UploadedBytes(limits.maxUploadBytes);
  const target: ArchiveTarget = {
    ...options,
    image: new ErofsImage(memory),
    output: new ImageFile(file, new RoomWatch(directory, minFreeBytes)),
    ...{ uploaded, unpacked: new UnpackedSize(limits.maxBytes, uploaded) },
    ...{ members: new MemberCount(limits.maxEntries), memory },
    decoders: options.decoders ?? new Decoders(),
  };
  return new Staging(path, { target, resources: opened });
}

/** An image that is being written. */
type OpenImage = { readonly target: ArchiveTarget; readonly resources: AsyncDisposableStack };

/** Has its image open until that is sealed or removed; nothing of it is left after a failure. */
class Staging implements ContextStaging {
  readonly #path: string;
  /** Null also while an archive is being taken: the next must wait. */
  #image: OpenImage | null;
  #summary: ContextSummary | null = null;
  readonly #names: string[] = [];
  #main: StagedArchive | null = null;
  #named = new Map<string, StagedArchive>();

  constructor(path: string, image: OpenImage) {
    this.#path = path;
    this.#image = image;
  }

  get summary(): ContextSummary | null {
    return this.#summary;
  }

  get names(): readonly string[] {
    return this.#names;
  }

  async add(name: string | null, upload: ArchiveUpload): Promise<void> {
    const image = this.#take();
    await using undo = this.#removeAfter(image);
    if (name === null && this.#summary) throw new Error('The context is there already.');
    const normal = name === null ? null : (normalizeNames([...this.names, name]).at(-1) ?? name);
    const archive = await ofContext(normal, () => stageArchive(upload, image.target));
    if (normal === null) {
      this.#main = archive;
      this.#summary = archive.summary;
    } else {
      this.#named.set(normal, archive);
      this.#names.push(normal);
    }
    undo.move();
    this.#image = image;
  }

  /** Nothing that holds the names of members is kept. */
  async seal(paths: ContextPaths, policy: DockerfilePolicy): Promise<SealedContexts> {
    const path = this.#path;
    const image = this.#take();
    await using undo = this.#removeAfter(image);
    const staged = { path, main: this.#main, named: this.#named };
    this.#main = null;
    this.#named = new Map();
    const { folders, ...checked } = await checkContexts(staged, paths, policy);
    for (const [name, root] of folders) image.target.image.addFolder(name, root);
    await writeRest(image.target);
    undo.move();
    await image.resources.disposeAsync();
    return { ...checked, path, [Symbol.asyncDispose]: () => removeQuietly(path) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#image) await this.#removeAfter(this.#take()).disposeAsync();
  }

  #take(): OpenImage {
    const image = this.#image;
    if (!image) throw new Error('These contexts were sealed or removed before, or one is still arriving.');
    this.#image = null;
    return image;
  }

  #removeAfter({ resources }: OpenImage): AsyncDisposableStack {
    const undo = new AsyncDisposableStack();
    undo.defer(() => removeQuietly(this.#path));
    undo.use(resources);
    return undo;
  }
}

async function writeRest({ image, output, signal }: ArchiveTarget): Promise<void> {
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
