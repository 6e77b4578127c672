import type { StepContext } from '../host/run-step.ts';

/** What it takes to make the VM image of an archive entry. */
export type ImageRequest = StepContext & {
  readonly entry: string;
  /** What tells it from others of the same pins; null for the one that a start of kiln makes. */
  readonly version: string | null;
  /** The project's images/ folder. */
  readonly imagesDirectory: string;
  readonly cacheDirectory: string;
  /** Another user's results, to read only. */
  readonly sharedCacheDirectory: string | null;
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

export type ImageSource = 'registry' | 'packages';
