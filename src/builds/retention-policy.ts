import type { Artifact } from '../model/build.ts';

/** What is kept of a build that ended, in bytes on the disk. */
export type KeptBuild = {
  readonly id: string;
  /** Of its log and events. */
  readonly bytes: number;
  /** Builds with equal artifacts share one file. */
  readonly artifact: { readonly digest: Artifact['digest']; readonly bytes: number } | null;
};

export type KeepLimits = {
  readonly maxBuilds: number;
  readonly maxBytes: number;
};

/** Bytes that the disk lacks: for a build to do its work, and to be taken at all. Not above 0 where it lacks none. */
export type MissingRoom = { readonly wanted: number; readonly needed: number };

/**
 * Which builds must go, those that ended first before all others and never more than needed: until what stays is within the
 * limits and the missing room is freed. The build that ended last stays unless its room is missing. Where all of them together
 * would not free what is wanted, what is needed counts; where not even that, something else fills the disk, and none goes for it.
 * @param kept in the order they ended
 * @returns the first of them
 */
export function chooseRemovals(
  kept: readonly KeptBuild[],
  { maxBuilds, maxBytes }: KeepLimits,
  { wanted, needed }: MissingRoom,
): KeptBuild[] {
  const sizes = bytesFreed(kept);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  const missing = [wanted, needed].find((bytes) => bytes <= total) ?? 0;
  let freed = 0;
  let count = 0;
  for (const bytes of sizes) {
    const left = kept.length - count;
    const isTooMuch = left > 1 && (left > maxBuilds || total - freed > maxBytes);
    if (!isTooMuch && freed >= missing) break;
    freed += bytes;
    count += 1;
  }
  return kept.slice(0, count);
}

/** What each frees when all before it are gone: an artifact goes with the last build that has it. */
function bytesFreed(kept: readonly KeptBuild[]): number[] {
  const last = new Map(kept.map(({ artifact }, index) => [artifact?.digest, index]));
  return kept.map(
    ({ bytes, artifact }, index) =>
      bytes + (artifact && last.get(artifact.digest) === index ? artifact.bytes : 0),
  );
}
