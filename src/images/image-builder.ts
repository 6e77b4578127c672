import type { ImageTarget } from '../model/operation.ts';

/** What stands in for a stage of images/Dockerfile: a folder of files, the one image of an OCI image layout, or an image of a registry. */
export type NamedContext = FolderContext | LayoutContext | RemoteContext;
/** By its digest. */
type RemoteContext = { readonly kind: 'remote'; readonly stage: string; readonly reference: string };
type FolderContext = { readonly kind: 'folder'; readonly stage: string; readonly path: string };
export type LayoutContext = {
  readonly kind: 'layout';
  readonly stage: string;
  readonly path: string;
  readonly digest: string;
};

/** Of layers. gzip is taken by every engine; zstd is a tenth of the work. */
type Compression = 'gzip' | 'zstd';

/** One target of images/Dockerfile. */
export type TargetBuild = {
  readonly target: ImageTarget;
  /** Folder of another Dockerfile, whose last stage is this target, and of its context; null for the project's images/ folder. */
  readonly own: string | null;
  readonly contexts: readonly NamedContext[];
  readonly args: Readonly<Record<string, string>>;
  readonly output: /** An OCI image layout in a folder. Files that are younger than SOURCE_DATE_EPOCH get that time, where the builder can do so. */
    | { readonly kind: 'layout'; readonly directory: string; readonly compression: Compression }
    /** These files of the target's root, which must be there. */
    | { readonly kind: 'files'; readonly directory: string; readonly names: readonly string[] }
    /** A tar for `docker load`, which is an OCI image layout, too. */
    | { readonly kind: 'docker'; readonly tar: string; readonly reference: string };
};

/** The digest that an image has in its registry now, or why it cannot be had, in a few words. */
export type LookedUp = { readonly digest: string } | { readonly why: string };

/** A BuildKit that builds targets of images/Dockerfile. Disposing gives back what was taken for it. */
export type ImageBuilder = AsyncDisposable & {
  /** Whether it can have this image from a registry. */
  lookUp(image: string): Promise<LookedUp>;
  /** @throws KilnError INFRA with the last lines of the build */
  build(build: TargetBuild): Promise<void>;
};
