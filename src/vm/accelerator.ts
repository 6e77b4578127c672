import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { Accelerator } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { acceleratorArguments } from './qemu-arguments.ts';

export type AcceleratorSetting = 'auto' | Accelerator;

export type AcceleratorChoice = {
  readonly name: Accelerator;
  /** What an operator must know of it, in one sentence; null for healthy KVM. */
  readonly note: string | null;
};

/** Why guests do not run under KVM here, and what cures it. */
export type KvmProblem = { readonly cause: string; readonly cure: string };

export type KvmProbe = (signal: AbortSignal) => Promise<KvmProblem | null>;

/** A healthy host prints the kernel's first line within about a second. */
const probeDeadlineMs = 8000;

/**
 * Decides what guests run on. Emulation is no isolation boundary: `auto` falls back to it only while nobody but this
 * machine's own users can reach the service (`trusted`).
 * @throws KilnError VIRTUALIZATION_UNAVAILABLE with cause and cure.
 */
export async function chooseAccelerator(
  options: { setting: AcceleratorSetting; trusted: boolean; probe: KvmProbe },
  signal: AbortSignal,
): Promise<AcceleratorChoice> {
  const { setting, trusted, probe } = options;
  if (setting === 'tcg') {
    return { name: 'tcg', note: 'Software emulation was asked for: slow, and no isolation boundary.' };
  }
  const problem = await probe(signal);
  if (!problem) return { name: 'kvm', note: null };
  if (setting === 'auto' && trusted) {
    return {
      name: 'tcg',
      note: `Software emulation, slow and no isolation boundary, because ${problem.cause}. ${problem.cure}`,
    };
  }
  const permission =
    setting === 'auto' ? ' Or set KILN_ACCEL=tcg to accept slow software emulation without isolation.' : '';
  throw new KilnError(
    'VIRTUALIZATION_UNAVAILABLE',
    `KVM cannot be used: ${problem.cause}. ${problem.cure}${permission}`,
  );
}

/**
 * Whether the image's own kernel really starts under KVM: /dev/kvm can open, create a machine and still never
 * boot one. The device is only looked at first because its absence deserves a better message.
 */
export function createKvmProbe(options: { binary: string; kernel: string; device?: string }): KvmProbe {
  const { binary, kernel, device = '/dev/kvm' } = options;
  return async (signal) => (await checkDevice(device)) ?? bootKernel({ binary, kernel }, signal);
}

async function checkDevice(device: string): Promise<KvmProblem | null> {
  try {
    await access(device, constants.R_OK | constants.W_OK);
    return null;
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    return missing
      ? {
          cause: `there is no ${device}`,
          cure: 'Turn on virtualization in the firmware (or nested virtualization in the cloud), load kvm_intel or kvm_amd, and in a container pass --device /dev/kvm.',
        }
      : {
          cause: `${device} may not be opened by this user`,
          cure: 'Add the user to the group that owns it: sudo usermod -aG kvm "$USER", then log in again.',
        };
  }
}

async function bootKernel(
  { binary, kernel }: { binary: string; kernel: string },
  signal: AbortSignal,
): Promise<KvmProblem | null> {
  signal.throwIfAborted();
  const child = spawn(
    'setpriv',
    ['--no-new-privs', '--pdeathsig=KILL', '--', binary, ...probeArguments(kernel)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const end = (): void => void child.kill('SIGKILL');
  const timer = setTimeout(end, probeDeadlineMs);
  signal.addEventListener('abort', end, { once: true });
  let started = false;
  let errors = '';
  let output = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    output = (output + text).slice(-8192);
    if (!output.includes('Linux version')) return;
    started = true;
    end();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-300);
  });
  try {
    const [code, killedBy] = await once(child, 'close');
    signal.throwIfAborted();
    if (started) return null;
    const cure = 'Run kiln on bare metal or where nested virtualization works.';
    if (killedBy === 'SIGKILL') {
      return { cause: `a guest kernel under KVM printed nothing for ${probeDeadlineMs / 1000} s`, cure };
    }
    const [firstLine = ''] = errors.trim().split('\n');
    return { cause: `QEMU gave up under KVM (${killedBy ?? code}${firstLine && `: ${firstLine}`})`, cure };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}

function probeArguments(kernel: string): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-machine', 'q35', '-m', '256M'],
    ...acceleratorArguments('kvm'),
    ...['-kernel', kernel, '-append', 'console=ttyS0 earlyprintk=serial panic=-1', '-serial', 'stdio'],
  ];
}
