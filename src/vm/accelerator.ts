import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { waitForEnd } from '../lib/process/start-process.ts';
import type { Accelerator } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { HangMemory } from './hang-memory.ts';
import type { Launcher } from './launcher.ts';
import { emulatedProcessor, kvmProcessors, type Processor, processorArguments } from './qemu-arguments.ts';

export type AcceleratorSetting = 'auto' | Accelerator;

export type AcceleratorChoice = {
  readonly processor: Processor;
  /** What an operator must know of it, in one sentence; null for healthy KVM. */
  readonly note: string | null;
};

/** Why guests do not run under KVM here, and what cures it. */
export type KvmProblem = { readonly cause: string; readonly cure: string };

/** Finds the processor that guests run with under KVM here. */
export type KvmProbe = (signal: AbortSignal) => Promise<Processor | KvmProblem>;

/** A healthy host prints the kernel's first line within about a second. */
const probeDeadlineMs = 6000;
const cure = 'Run kiln on bare metal or where nested virtualization works.';
const hang: KvmProblem = {
  cause: `a guest kernel under KVM printed nothing for ${probeDeadlineMs / 1000} s`,
  cure,
};

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
    return {
      processor: emulatedProcessor,
      note: 'Software emulation was asked for: slow, and no isolation boundary.',
    };
  }
  const found = await probe(signal);
  if ('model' in found) return { processor: found, note: null };
  if (setting === 'auto' && trusted) {
    return {
      processor: emulatedProcessor,
      note: `Software emulation, slow and no isolation boundary, because ${found.cause}. ${found.cure}`,
    };
  }
  const permission =
    setting === 'auto' ? ' Or set KILN_ACCEL=tcg to accept slow software emulation without isolation.' : '';
  throw new KilnError(
    'VIRTUALIZATION_UNAVAILABLE',
    `KVM cannot be used: ${found.cause}. ${found.cure}${permission}`,
  );
}

/**
 * Whether the image's own kernel really starts under KVM: /dev/kvm can open, create a machine and still never
 * boot one. The device is only looked at first because its absence deserves a better message.
 * @param options.memory Spares the wait where an earlier start waited in vain. A working KVM is always tried: it answers at once.
 */
export function createKvmProbe(options: {
  launcher: Launcher;
  image: VmImage;
  device?: string;
  memory?: HangMemory;
}): KvmProbe {
  const { launcher, image, device = '/dev/kvm', memory } = options;
  return async (signal) => {
    const closed = await checkDevice(device);
    if (closed) return closed;
    if (memory && (await memory.recall(device))) {
      const again = `An earlier start found this since the machine booted; remove ${memory.file} to have it tried again.`;
      return { ...hang, cure: `${hang.cure} ${again}` };
    }
    const found = await findProcessor({ launcher, image }, kvmProcessors, signal);
    if (found === hang) await memory?.keep(device);
    return found;
  };
}

/** The first of the processors that guests start with; of those that none does, why the last one tried did not. */
async function findProcessor(
  guest: { launcher: Launcher; image: VmImage },
  [processor, ...others]: typeof kvmProcessors,
  signal: AbortSignal,
): Promise<Processor | KvmProblem> {
  const problem = await bootKernel({ ...guest, processor }, signal);
  if (!problem) return processor;
  const [next, ...rest] = others;
  // Only a refused MSR is a matter of the processor's model.
  return next && /\bMSR\b/.test(problem.cause) ? findProcessor(guest, [next, ...rest], signal) : problem;
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
          cure: 'Add the user to the group that owns it: sudo usermod -aG kvm "$USER", then log in again; for a container, --group-add "$(stat -c %g /dev/kvm)", which docker-compose.kvm.yml calls KVM_GID.',
        };
  }
}

async function bootKernel(
  { launcher, image, processor }: { launcher: Launcher; image: VmImage; processor: Processor },
  signal: AbortSignal,
): Promise<KvmProblem | null> {
  signal.throwIfAborted();
  const guest = launcher.run({ args: probeArguments(image.kernel, processor), image, accelerator: 'kvm' });
  const deadline = AbortSignal.timeout(probeDeadlineMs);
  let started = false;
  let output = '';
  guest.stdout.setEncoding('latin1').on('data', (text: string) => {
    output = (output + text).slice(-8192);
    if (!output.includes('Linux version')) return;
    started = true;
    void guest.kill();
  });
  const end = await waitForEnd(guest, AbortSignal.any([signal, deadline])).catch((error: unknown) => {
    if (signal.aborted || !deadline.aborted) throw error;
    return null;
  });
  if (started) return null;
  if (!end) return hang;
  const [firstLine = ''] = end.how.split('\n');
  return { cause: `QEMU gave up under KVM (it ${firstLine})`, cure };
}

function probeArguments(kernel: string, processor: Processor): string[] {
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-machine', 'q35', '-m', '256M'],
    ...processorArguments(processor),
    ...['-kernel', kernel, '-append', 'console=ttyS0 earlyprintk=serial panic=-1', '-serial', 'stdio'],
  ];
}
