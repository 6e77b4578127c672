import type { ProcessUsers } from './process-users.ts';
import type { Processor } from './qemu-arguments.ts';

/** One running QEMU process with its guest. Disposing it destroys it and everything it had; disposal never throws. */
export type Vm = AsyncDisposable & {
  readonly id: string;
  readonly processor: Processor;
  /** The VM's own folder, 0700: whatever is plugged in must lie here, and is gone with the VM. */
  readonly directory: string;
  /** Where the guest's ssh answers on 127.0.0.1, and the one host key it may show. */
  readonly ssh: SshEndpoint;
  /** Resolves, never rejects, with the reason once the VM is gone, for whatever cause. */
  readonly exited: Promise<string>;
  /** Makes a file in `directory` a disk of the running guest, which finds it by its serial number in sysfs. */
  plug(disk: PluggedDisk, signal: AbortSignal): Promise<void>;
};

export type SshEndpoint = { readonly port: number; readonly hostKey: string };

export type PluggedDisk = {
  readonly file: string;
  /** At most 20 characters of [a-z0-9-]. */
  readonly serial: string;
  readonly readOnly: boolean;
};

/** What VMs are made from and how: the same for all of one service. */
export type VmSetup = {
  /** Marks every process of this installation. */
  readonly installation: string;
  readonly qemu: Qemu;
  readonly processor: Processor;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly users: ProcessUsers;
  /** Holds one folder per VM. */
  readonly vmsDirectory: string;
  /** Holds one folder per template. */
  readonly templatesDirectory: string;
};

export type Qemu = {
  readonly binary: string;
  readonly version: string;
  readonly major: number;
  readonly minor: number;
};

/** Before 8.2 QEMU opens a RAM file read-write even when it maps it privately. */
export function opensRamReadOnly({ major, minor }: Qemu): boolean {
  return major > 8 || (major === 8 && minor >= 2);
}
