import type { ImageTarget } from '../model/operation.ts';

/** What stands in for a stage of images/Dockerfile: a folder of files, or the one image of an OCI image layout. */
export type NamedContext = FolderContext | LayoutContext;
type FolderContext = { readonly kind: 'folder'; readonly stage: string; readonly path: string };
export type LayoutContext = {
  readonly kind: 'layout';
  readonly stage: string;
  readonly path: string;
  readonly digest: string;
};

/** One target of images/Dockerfile. */
export type TargetBuild = {
  readonly target: ImageTarget;
  /** Folder of another Dockerfile, whose last stage is this target, and of its context; null for the project's images/ folder. */
  readonly own: string | null;
  readonly contexts: readonly NamedContext[];
  readonly args: Readonly<Record<string, string>>;
  readonly output: /** An OCI image layout in a folder. */
    | { readonly kind: 'layout'; readonly directory: string }
    /** These files of the target's root, which must be there. */
    | { readonly kind: 'files'; readonly directory: string; readonly names: readonly string[] }
    /** A tar for `docker load`, which is an OCI image layout, too. */
    | { readonly kind: 'docker'; readonly tar: string; readonly reference: string };
};

/** A BuildKit that builds targets of images/Dockerfile. Disposing gives back what was taken for it. */
export type ImageBuilder = AsyncDisposable & {
  /** Whether it can have this image from a registry; null where it can, else why not, in a few words. */
  lookUp(image: string): Promise<string | null>;
  /** @throws KilnError INFRA with the last lines of the build */
  build(build: TargetBuild): Promise<void>;
};
