import { runTool } from '../lib/process.ts';
import { KilnError } from '../model/error.ts';
import type { Qemu } from './vm.ts';

/** @throws KilnError REQUIREMENT_MISSING when QEMU is absent or older than templates need. */
export async function findQemu(signal: AbortSignal, binary = 'qemu-system-x86_64'): Promise<Qemu> {
  const [version = ''] = (await runTool(binary, ['--version'], signal).catch(() => '')).split('\n');
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined || Number(major) < 7) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `QEMU 7 or newer is needed, found ${version || 'none'}. On Debian or Ubuntu: sudo apt-get install -y qemu-system-x86 qemu-utils`,
    );
  }
  return { binary, version, major: Number(major), minor: Number(minor) };
}
