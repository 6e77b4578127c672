import type { Socket } from 'node:net';
import type { Launcher } from './launcher.ts';
import type { ProcessUsers } from './process-users.ts';
import type { Processor } from './qemu-arguments.ts';

/** One running QEMU with its guest. Disposing it destroys it and everything it had; disposal never throws. */
export type Vm = AsyncDisposable & {
  readonly id: string;
  readonly processor: Processor;
  /** The way to the guest's ssh, and the one host key it may show. */
  readonly ssh: SshEndpoint;
  /** Resolves, never rejects, with the reason once the VM is gone, for whatever cause. */
  readonly exited: Promise<string>;
  /**
   * Makes a file a disk of the running guest, which finds it by its serial number in sysfs and can only read it.
   * @param disk.serial At most 20 characters of [a-z0-9-].
   * @param disk.source On the file system of the VMs; it is left as it is but for its mode, 0440, and its group.
   */
  plugFile(disk: { readonly serial: string; readonly source: string }, signal: AbortSignal): Promise<void>;
  /** Gives the running guest an empty disk of this size, to be found and written as above. */
  plugBlank(
    disk: { readonly serial: string; readonly bytes: number },
    signal: AbortSignal,
  ): Promise<BlankDisk>;
  /** How much of the host's disk the guest takes by what it has written. */
  usedBytes(): Promise<number>;
};

/** A clone whose guest has not run yet: it takes a fraction of the memory. Disposing it destroys it, woken or not. */
export type FrozenVm = Pick<Vm, 'id' | 'exited'> &
  AsyncDisposable & {
    /** Lets the guest run. Once. @throws INFRA */
    wake(signal: AbortSignal): Promise<Vm>;
  };

/** A disk that the guest fills. Its file is gone with the VM, unless it was moved out before. */
export type BlankDisk = {
  /**
   * Moves the file to `path`, on the file system of the VMs. The guest may go on writing into it: whoever reads it destroys
   * the VM first. The file is QEMU's user's, who may have given it a second name.
   */
  moveTo(path: string): Promise<void>;
};

export type SshEndpoint = {
  readonly open: (signal: AbortSignal) => Promise<Socket>;
  readonly hostKey: string;
};

/** What VMs are made from and how: the same for all of one service. */
export type VmSetup = {
  /** Marks every process of this installation. */
  readonly installation: string;
  readonly launcher: Launcher;
  readonly processor: Processor;
  readonly cpus: number;
  readonly memoryMiB: number;
  /** Size of a VM's disk: the most that its guest may write on it. */
  readonly diskBytes: number;
  readonly users: ProcessUsers;
  /** Holds one folder per VM. */
  readonly vmsDirectory: string;
  /** Holds one folder per template. */
  readonly templatesDirectory: string;
};
