import type { BuildRecord, BuildState } from './build.ts';

/** At most so many entries build one upload. */
export const maxMatrixBuilds = 16;

/** Builds of one upload by several archive entries, each a build like any other. */
export type Matrix = {
  readonly id: string;
  /** `running` while one of its builds has not ended; `succeeded` where all did. */
  readonly state: 'running' | 'succeeded' | 'failed';
  /** In the order they were asked for; the others are compared with the first. */
  readonly builds: readonly MatrixBuild[];
};

export type MatrixBuild = {
  readonly entry: string;
  /** Of the build. */
  readonly id: string;
  readonly state: BuildState;
  /** In its VM; null while it has not ended, or where it had none. */
  readonly seconds: number | null;
  readonly imageDigest: string | null;
  /**
   * Where its log first says something else than that of the first build; times, the order and numbers of steps and the progress of
   * transfers aside. Null where it does not, while one of the two has not ended or where one was removed, and for the first build itself.
   */
  readonly firstDifference: LogDifference | null;
};

export type LogDifference = {
  /** Of the build's own log; `first` for a line of the first build's that it lacks. */
  readonly of: 'own' | 'first';
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
};

/** That of all builds of a matrix together. */
export function matrixState(builds: readonly Pick<BuildRecord, 'state'>[]): Matrix['state'] {
  if (builds.some(({ state }) => state === 'queued' || state === 'running')) return 'running';
  return builds.every(({ state }) => state === 'succeeded') ? 'succeeded' : 'failed';
}
