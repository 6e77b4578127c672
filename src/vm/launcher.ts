import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { RunningProcess } from '../lib/process/start-process.ts';
import type { Accelerator } from '../model/build.ts';
import type { VmImage } from '../model/vm-image.ts';
import type { QemuProgram } from './find-qemu.ts';
import type { QmpClient } from './qmp.ts';

/**
 * How QEMU is started: as a child process, or in a container. Templates, clones, hot-plug and the monitor lie above it and are the
 * same for both.
 */
export type Launcher = {
  readonly qemu: QemuProgram;
  /** Starts a machine whose monitor is QEMU's stdin and stdout. @throws KilnError INFRA where it cannot even be tried. */
  start(request: LaunchRequest, signal: AbortSignal): Promise<QemuProcess>;
  /** Runs QEMU with no folder and no user of its own; what it prints must be read. */
  run(request: Pick<LaunchRequest, 'args' | 'image' | 'accelerator'>): QemuRun;
  /** Makes an empty qcow2 of this size over `backing`, as kiln's own file. */
  createOverlay(request: OverlayRequest, signal: AbortSignal): Promise<void>;
};

export type LaunchRequest = {
  readonly args: readonly string[];
  /** The one that `args` name. */
  readonly accelerator: Accelerator;
  readonly image: VmImage;
  readonly user: ProcessUser;
  /** QEMU works here, and opens the files in it. */
  readonly directory: string;
  /** Other folders whose files it reads. */
  readonly reads: readonly string[];
  /** The migration state; QEMU knows it as fd 3. */
  readonly stateFile?: string;
};

export type OverlayRequest = {
  readonly image: VmImage;
  readonly backing: string;
  readonly overlay: string;
  readonly bytes: number;
};

/** The unprivileged user a QEMU process runs as; null keeps the user kiln itself runs as. */
export type ProcessUser = {
  readonly uid: number;
  readonly gid: number;
  /** One more group it is in. */
  readonly group?: number;
} | null;

export type QemuProcess = {
  readonly qmp: QmpClient;
  /** Resolves, never rejects, with why it ended once the process is gone. */
  readonly exited: Promise<string>;
  /** Connects to a port that QEMU listens on, on the loopback that it sees. */
  dial(port: number, signal: AbortSignal): Promise<Socket>;
  /** Ends the process at once, and waits until it is gone. @returns whether it is known to be. Never rejects. */
  kill(): Promise<boolean>;
};

export type QemuRun = RunningProcess & { readonly stdout: Readable };
