import { dirname } from 'node:path';
import { exists } from '../lib/files.ts';
import type { VmImage } from '../model/vm-image.ts';
import { type DqdImage, describeDqdImage } from './dqd-image.ts';
import type { MadeImages } from './made-images.ts';

/** The dqd image that an operation made of this VM image, and published; null where none did, or where it was removed. */
export async function findMadeDqd(
  made: Pick<MadeImages, 'list'>,
  { disk }: Pick<VmImage, 'disk'>,
): Promise<DqdImage | null> {
  const images = await made.list();
  const vm = images.find(({ kind, directory }) => kind === 'vm' && directory === dirname(disk));
  // Of several, as of attempts with other arguments, the last.
  const dqd = images.findLast(
    ({ kind, entry, version }) => kind === 'dqd' && entry === vm?.entry && version === vm.version,
  );
  if (!dqd) return null;
  const image = describeDqdImage(dqd.entry, dqd.directory);
  return (await exists(image.tar)) ? image : null;
}
