import { createHash } from 'node:crypto';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import type { QemuProgram } from './find-qemu.ts';

/**
 * That guests never start under KVM here is found out by waiting for one: once since this machine booted is enough for the same
 * image, QEMU and device.
 */
export type HangMemory = {
  /** What an operator removes to have it tried again. */
  readonly file: string;
  recall(device: string): Promise<boolean>;
  /** Never rejects: what is not kept is found out again. */
  keep(device: string): Promise<void>;
};

export function createHangMemory(options: {
  file: string;
  imageDigest: string;
  qemu: QemuProgram;
}): HangMemory {
  const { file, imageDigest, qemu } = options;
  const fingerprint = async (device: string): Promise<string> => {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    // KVM that was loaded anew, with other settings, has another device.
    const { dev, ino, ctimeNs } = await stat(device, { bigint: true });
    const facts = [boot, imageDigest, qemu.binary, qemu.version, device, `${dev}:${ino}:${ctimeNs}`];
    return createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  };
  return {
    file,
    async recall(device) {
      const kept = await readFile(file, 'utf8').catch(() => null);
      return kept !== null && kept === (await fingerprint(device));
    },
    async keep(device) {
      try {
        await writeFile(`${file}.new`, await fingerprint(device));
        await rename(`${file}.new`, file);
      } catch {
        // The next start waits again.
      }
    },
  };
}
