import type { Operation } from '../model/operation.ts';

/** Of an image, such as v0.1.0. */
const pattern = /^v(\d+)\.(\d+)\.(\d+)$/;
const first = 'v0.1.0';

/** Versions that images of an entry have, each with the operation that made it. */
export function takenVersions(entry: string, operations: readonly Operation[]): ReadonlyMap<string, string> {
  const made = operations.filter(
    ({ request, state }) => state === 'succeeded' && !request.dryRun && request.entry === entry,
  );
  return new Map(made.map(({ id, request }) => [request.version, id]));
}

/** Of the container images that operations made of this version, whatever became of them. */
export function digestsOf(
  { entry, version }: { entry: string; version: string },
  operations: readonly Operation[],
): readonly string[] {
  return operations
    .filter(({ request }) => request.entry === entry && request.version === version)
    .flatMap(({ ctrDigest, dqdDigest }) => [ctrDigest, dqdDigest].filter((digest) => digest !== null));
}

/** The one behind the highest of these: also after a roll back, a version that there was is not given again. */
export function nextVersion(versions: Iterable<string>): string {
  const [highest] = [...versions].flatMap((version) => parse(version) ?? []).toSorted(compare);
  return highest ? `v${highest[0]}.${highest[1]}.${highest[2] + 1}` : first;
}

type Parts = readonly [major: number, minor: number, patch: number];

function parse(version: string): [Parts] | null {
  const [, major, minor, patch] = pattern.exec(version) ?? [];
  return patch === undefined ? null : [[Number(major), Number(minor), Number(patch)]];
}

/** The highest first. */
function compare(one: Parts, other: Parts): number {
  return other[0] - one[0] || other[1] - one[1] || other[2] - one[2];
}
