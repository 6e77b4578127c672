import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { runTool } from '../lib/process/run-tool.ts';
import { type ProcessEnd, startPiped, tieToKiln } from '../lib/process/start-process.ts';
import type { Qemu } from './find-qemu.ts';
import type { Launcher, ProcessUser, QemuProcess } from './launcher.ts';
import { QmpClient } from './qmp.ts';

/** QEMU as a child process in the foreground, without privileges: the kernel kills it when kiln dies. */
export function createProcessLauncher(qemu: Qemu): Launcher {
  return {
    qemu,
    async start({ args, user, directory, stateFile }) {
      if (stateFile === undefined) return startQemu({ qemu, args, user, directory });
      await using state = await open(stateFile, 'r');
      return startQemu({ qemu, args, user, directory, state: state.fd });
    },
    run: ({ args }) => startPiped(tie(qemu, args, null)),
    async createOverlay({ backing, overlay, bytes }, signal) {
      const args = ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', backing, overlay, String(bytes)];
      await runTool(qemu.img, args, signal);
    },
  };
}

function startQemu(options: {
  qemu: Qemu;
  args: readonly string[];
  user: ProcessUser;
  directory: string;
  /** Open file descriptor. */
  state?: number;
}): QemuProcess {
  const { qemu, args, user, directory, state } = options;
  const { stdin, stdout, ended, kill } = startPiped(tie(qemu, args, user), {
    cwd: directory,
    bareEnvironment: true,
    ...(state === undefined ? {} : { descriptor: state }),
  });
  const qmp = new QmpClient(stdin, stdout);
  // Nobody can speak to it any more, and whoever broke its monitor may have broken out of the guest.
  void qmp.broken.then(kill);
  return {
    qmp,
    exited: describeExit(ended, qmp),
    dial: async (port) => connect({ host: '127.0.0.1', port }),
    async kill() {
      await kill();
      return true;
    },
  };
}

function tie({ binary, setpriv }: Qemu, args: readonly string[], user: ProcessUser) {
  return tieToKiln({ command: binary, args }, { setpriv, privileges: unprivileged(user) });
}

/** Words for setpriv(1). */
function unprivileged(user: ProcessUser): string[] {
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
