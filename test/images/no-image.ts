import { SealedFiles } from '../../src/lib/sealed-files.ts';
import type { VmImage } from '../../src/model/vm-image.ts';

/** Stands for the VM image of an entry where nothing is started from it: it has no files, so that nothing can be wrong with them. */
export function noImage(entry: string): VmImage {
  const sealed = new SealedFiles({}, { record: null });
  return { entry, digest: `sha256:${entry}`, versions: {}, kernel: '', initrd: '', disk: '', sealed };
}
