import { type ProcessEnd, startPiped, tieToKiln } from '../lib/process/start-process.ts';
import type { Qemu } from './find-qemu.ts';
import { QmpClient } from './qmp.ts';

/** The unprivileged user a QEMU process runs as; null keeps the user kiln itself runs as. */
export type ProcessUser = {
  readonly uid: number;
  readonly gid: number;
  /** One more group it is in. */
  readonly group?: number;
} | null;

export type QemuProcess = {
  readonly pid: number;
  readonly qmp: QmpClient;
  /** Resolves, never rejects, with why it ended once the process is gone. */
  readonly exited: Promise<string>;
  /** Ends the process at once and waits until it is gone. Never rejects. */
  kill(): Promise<void>;
};

/**
 * Starts QEMU in the foreground, without privileges, tied to this process: it is killed by the kernel when kiln dies.
 * @param options.stateFile Open file descriptor of the migration state; QEMU knows it as fd 3.
 */
export function startQemu(options: {
  qemu: Qemu;
  args: readonly string[];
  user: ProcessUser;
  directory: string;
  stateFile?: number;
}): QemuProcess {
  const { qemu, args, user, directory, stateFile } = options;
  const program = tieToKiln(
    { command: qemu.binary, args },
    { setpriv: qemu.setpriv, privileges: unprivileged(user) },
  );
  const { pid, stdin, stdout, ended, kill } = startPiped(program, {
    cwd: directory,
    bareEnvironment: true,
    ...(stateFile === undefined ? {} : { descriptor: stateFile }),
  });
  const qmp = new QmpClient(stdin, stdout);
  // Nobody can speak to it any more, and whoever broke its monitor may have broken out of the guest.
  void qmp.broken.then(kill);
  return {
    pid: pid ?? -1,
    qmp,
    exited: describeExit(ended, qmp),
    async kill() {
      await kill();
    },
  };
}

/** Words for setpriv(1). */
export function unprivileged(user: ProcessUser): string[] {
  const drop = user
    ? [
        `--reuid=${user.uid}`,
        `--regid=${user.gid}`,
        user.group === undefined ? '--clear-groups' : `--groups=${user.group}`,
        '--inh-caps=-all',
        '--bounding-set=-all',
      ]
    : [];
  return [...drop, '--no-new-privs'];
}

async function describeExit(ended: Promise<ProcessEnd>, qmp: QmpClient): Promise<string> {
  const { how } = await ended;
  return qmp.fault === null ? how : `${how}, as its monitor could not be read: ${qmp.fault}`;
}
