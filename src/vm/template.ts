import { join } from 'node:path';
import type { SealedFiles } from '../lib/sealed-files.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { MachineOptions } from './qemu-arguments.ts';
import type { SshEndpoint, VmSetup } from './vm.ts';

/** Device state and RAM of one booted VM image, made on this host, from which clones start. */
export type Template = {
  /** Hash of everything a clone must have in common with the template, and of what was done to its guest. */
  readonly key: string;
  readonly image: VmImage;
  /** The public half, base64, of the key that opens the guest. */
  readonly authorizedKey: string;
  readonly files: TemplateFiles;
  /** Its files, each of which must stay as it was made. */
  readonly sealed: SealedFiles;
  /** The guest's ssh host key, `ssh-ed25519 AAAA…`, read from its console before anyone could speak to it. */
  readonly hostKey: string;
};

export type TemplateFiles = {
  readonly directory: string;
  /** The guest's memory, one sparse file of its nominal size; clones map it copy-on-write. */
  readonly ram: string;
  /** QEMU's migration stream without the RAM. */
  readonly state: string;
  /** qcow2 over the image's disk: what the guest wrote until it was stopped. */
  readonly disk: string;
  /** Empty qcow2 over `disk`: each clone starts with a copy of it. */
  readonly overlay: string;
};

export type TemplateRequest = {
  readonly setup: VmSetup;
  readonly image: VmImage;
  readonly authorizedKey: string;
  readonly preparation: GuestPreparation;
  readonly progress: (line: string) => void;
};

/** What makes a booted guest ready to serve builds. */
export type GuestPreparation = {
  /** Changes when `prepare` would leave a different guest behind. */
  readonly fingerprint: string;
  /** Resolves when the guest is ready and no connection to it is open any more. */
  prepare(ssh: SshEndpoint, signal: AbortSignal): Promise<void>;
};

export function templateFiles(directory: string): TemplateFiles {
  const [ram, state, disk, overlay] = ['ram', 'state', 'disk.qcow2', 'overlay.qcow2'] as const;
  return {
    directory,
    ram: join(directory, ram),
    state: join(directory, state),
    disk: join(directory, disk),
    overlay: join(directory, overlay),
  };
}

/** The part of a machine that a template and its clones have in common. */
export function commonMachineOptions(
  { setup, image, authorizedKey }: { setup: VmSetup; image: VmImage; authorizedKey: string },
  id: string,
): Omit<MachineOptions, 'disk' | 'ram' | 'console' | 'incoming'> {
  return {
    name: `${processName(setup.installation)}${id}`,
    processor: setup.processor,
    cpus: setup.cpus,
    memoryMiB: setup.memoryMiB,
    kernel: image.kernel,
    initrd: image.initrd,
    kernelCommandLine: `root=/dev/vda rw quiet console=ttyS0 kiln.key=${authorizedKey}`,
  };
}

/** What every QEMU process of one installation is called, up to the VM's id. */
export function processName(installation: string): string {
  return `kiln-${installation}-`;
}
