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

/**
 * Which builds must go, those that ended first before all others and never more than needed: until what stays is within the
 * limits and `missingBytes` were freed. The build that ended last stays unless its room is missing. Where all of them together
 * would not free the missing bytes, something else fills the disk: then none goes for that.
 * @param kept in the order they ended
 * @returns the first of them
 */
export function chooseRemovals(
  kept: readonly KeptBuild[],
  { maxBuilds, maxBytes }: KeepLimits,
  missingBytes: number,
): KeptBuild[] {
  const sizes = bytesFreed(kept);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  const missing = total < missingBytes ? 0 : missingBytes;
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
