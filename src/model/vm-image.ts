import type { SealedFiles } from '../lib/sealed-files.ts';
import { KilnError } from './error.ts';

/** Kernel, initrd and qcow2 disk made from the ctr image of one archive entry. */
export type VmImage = {
  /** Archive entry, such as `buildkit-v0.20.2`. */
  readonly entry: string;
  /** `sha256:…` of its manifest, which names the digest of every file. */
  readonly digest: string;
  /** What is inside: buildkit, runc, runcCommit, go, libseccomp, kernel, systemd, distribution, packages (a digest). */
  readonly versions: Readonly<Record<string, string>>;
  /** Absolute paths. */
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
  /** These three files, each of which must stay as it was made. */
  readonly sealed: SealedFiles;
};

/**
 * What callers are told; which file it is, and where, is the cause, for whoever runs the service.
 * @param damage What is wrong, as `SealedFiles` tells it.
 */
export function corruptImage(entry: string, directory: string, damage: string): KilnError {
  return new KilnError(
    'IMAGE_CORRUPT',
    `The VM image of ${entry} is damaged; whoever runs this service finds in its log what is to be done.`,
    {
      cause: new Error(
        `${damage}. Make another image with POST /admin/images/rebuild, or remove ${directory} and start kiln again.`,
      ),
    },
  );
}
