import type { Entry } from '../catalog/catalog.ts';
import type { StepContext } from '../host/run-step.ts';
import type { ImageTarget, RebuildArgs } from '../model/operation.ts';
import type { ImageBuilder } from './image-builder.ts';

/** What it takes to make the images of an archive entry. */
export type ImageRequest = StepContext & {
  readonly entry: string;
  /** What tells its images from others of the same pins; null for the one that a start of kiln makes. */
  readonly version: string | null;
  /** In place of the pins of these names. */
  readonly args: RebuildArgs;
  /** Whether packages are fetched anew, rather than taken from where an earlier image had them. */
  readonly noCache: boolean;
  /** What builds them. */
  readonly openBuilder: OpenBuilder;
  /** The project's images/ folder. */
  readonly imagesDirectory: string;
  /** All entries, as they were when this service started. */
  readonly catalog: readonly Entry[];
  readonly cacheDirectory: string;
  /** Another user's results, to read only. */
  readonly sharedCacheDirectory: string | null;
  /** Whose rebuilds these are: others that share the cache have images of the same versions. Null where only first images are made, which are everybody's. */
  readonly installation: string | null;
  /** Where it is remembered what images looked like when they were last read; null: they are read whole each time. */
  readonly sealsDirectory: string | null;
  /** What the image is made from; auto takes a container registry where one answers. */
  readonly sources: 'auto' | 'registry' | 'packages';
  /** Address of a buildkitd to build with, in place of one that is started for it. */
  readonly buildkitHost: string | undefined;
  readonly asRoot: boolean;
  /** Where programs are looked for, as in $PATH. */
  readonly path: string;
};

/**
 * Gets a builder ready, when something has to be built.
 * @throws KilnError REQUIREMENT_MISSING where there is none to be had
 */
type OpenBuilder = (request: ImageRequest, target: ImageTarget) => Promise<ImageBuilder>;

/** What is the same for all images of a host. */
export type HostImageRequest = Omit<ImageRequest, 'entry' | 'version' | 'args' | 'noCache'>;

/** The images that a start of kiln makes: exactly what the entry pins. */
export function firstImageOf(entry: string, request: HostImageRequest): ImageRequest {
  return { ...request, entry, version: null, args: {}, noCache: false };
}

export type ImageSource = 'registry' | 'packages';
