/** What is published of an entry: its root file system, and QEMU with the VM image. */
export type PublishedKind = 'ctr' | 'dqd';

/** The moving tag of an entry, such as `buildkit-v0.20.2` or `ctr_buildkit-v0.20.2`: it leads to the newest version. */
export function aliasOf(kind: PublishedKind, entry: string): string {
  return kind === 'ctr' ? `ctr_${entry}` : entry;
}

/** The tag of one version, such as `buildkit-v0.20.2_v0.1.0`: it means one image for good. */
export function versionTagOf(kind: PublishedKind, entry: string, version: string): string {
  return `${aliasOf(kind, entry)}_${version}`;
}
