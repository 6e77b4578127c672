import { open } from 'node:fs/promises';
import { KilnError } from '../model/error.ts';

/** https://www.qemu.org/docs/master/interop/qcow2.html: magic, version, where the name of a backing file stands, and features. */
const magic = 0x514649fb;
const headerBytes = 80;
const externalData = 1n << 2n;

/**
 * That a disk is a qcow2 image by itself. QEMU opens the files that one names, whichever of this host's they are; and what made this disk
 * may be a VM, whose word is not to be trusted.
 * @throws KilnError ARTIFACT_INVALID where it names another file, or is no such image
 */
export async function checkDisk(disk: string): Promise<void> {
  const header = Buffer.alloc(headerBytes);
  await using file = await open(disk, 'r');
  await file.read(header, 0, headerBytes, 0);
  if (header.readUInt32BE(0) !== magic) throw invalid(disk, 'is no qcow2 image');
  const backing = header.readBigUInt64BE(8);
  const features = header.readUInt32BE(4) >= 3 ? header.readBigUInt64BE(72) : 0n;
  if (backing !== 0n || (features & externalData) !== 0n) throw invalid(disk, 'names another file');
}

function invalid(disk: string, how: string): KilnError {
  return new KilnError('ARTIFACT_INVALID', `The disk that was made of the image ${how}: ${disk}`);
}
