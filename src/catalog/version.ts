/** A BuildKit release: its three numbers, most significant first. */
export type Version = readonly [major: number, minor: number, patch: number];

/** @param text Such as `v0.20.2`; null for anything else, pre-releases among it. */
export function parseVersion(text: string): Version | null {
  const match = /^v(\d{1,4})\.(\d{1,4})\.(\d{1,4})$/.exec(text);
  return match ? [Number(match[1]), Number(match[2]), Number(match[3])] : null;
}

/** Negative where `a` is the older. */
export function compareVersions(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
