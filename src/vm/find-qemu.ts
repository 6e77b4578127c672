import { findProgram } from '../lib/process/find-program.ts';
import { runTool } from '../lib/process/run-tool.ts';
import { KilnError } from '../model/error.ts';

/** One QEMU, wherever it is started. */
export type QemuProgram = {
  /** What tells it from another of its version: its absolute path, or the image that it is in. */
  readonly binary: string;
  readonly version: string;
  readonly major: number;
  readonly minor: number;
};

/** One on this machine, with what is run beside it, by their absolute paths. */
export type Qemu = QemuProgram & {
  /** qemu-img, of the same installation. */
  readonly img: string;
  readonly setpriv: string;
};

/** Before 8.2 QEMU opens a RAM file read-write even when it maps it privately. */
export function opensRamReadOnly({ major, minor }: QemuProgram): boolean {
  return major > 8 || (major === 8 && minor >= 2);
}

/**
 * Finds QEMU and what is run beside it, once: every use of them is by these absolute paths.
 * @param path Where programs are looked for, as in $PATH.
 * @throws KilnError REQUIREMENT_MISSING when one is absent, or QEMU older than templates need.
 */
export async function findQemu(path: string, signal: AbortSignal): Promise<Qemu> {
  const [binary, img, setpriv] = await Promise.all([
    findProgram('qemu-system-x86_64', path),
    findProgram('qemu-img', path),
    findProgram('setpriv', path),
  ]);
  const found = binary === null ? { version: '', what: 'none' } : await askVersion(binary, signal);
  const { version, what } = found;
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(version) ?? [];
  if (!(binary && img && setpriv) || major === undefined || minor === undefined || Number(major) < 7) {
    throw new KilnError(
      'REQUIREMENT_MISSING',
      `QEMU 7 or newer with qemu-img and setpriv is needed, found ${what}. On Debian or Ubuntu: sudo apt-get install -y qemu-system-x86 qemu-utils util-linux`,
    );
  }
  return { binary, img, setpriv, version, major: Number(major), minor: Number(minor) };
}

/** @returns its version, and what was found in words: that, or why it does not run */
async function askVersion(binary: string, signal: AbortSignal): Promise<{ version: string; what: string }> {
  try {
    const [version = ''] = (await runTool(binary, ['--version'], signal)).split('\n');
    return { version, what: version === '' ? `${binary}, which says no version` : version };
  } catch (error) {
    signal.throwIfAborted();
    return { version: '', what: error instanceof Error ? error.message : String(error) };
  }
}
