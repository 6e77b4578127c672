import { type ChildProcess, spawn } from 'node:child_process';
import { KilnError } from '../model/error.ts';
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

const errorTailLength = 2000;

/**
 * Starts QEMU in the foreground, without privileges, tied to this process: it is killed by the kernel when kiln dies.
 * @param options.stateFile Open file descriptor of the migration state; QEMU knows it as fd 3.
 */
export function startQemu(options: {
  binary: string;
  args: readonly string[];
  user: ProcessUser;
  directory: string;
  stateFile?: number;
}): QemuProcess {
  const { binary, args, user, directory, stateFile } = options;
  const child = spawn('setpriv', [...privilegeArguments(user), binary, ...args], {
    cwd: directory,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['pipe', 'pipe', 'pipe', stateFile ?? 'ignore'],
  });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new KilnError('INFRA', 'QEMU was started without its monitor pipes.');
  const exited = exitOf(child);
  return {
    pid: child.pid ?? -1,
    qmp: new QmpClient(stdin, stdout),
    exited,
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

function privilegeArguments(user: ProcessUser): string[] {
  const drop = user
    ? [
        `--reuid=${user.uid}`,
        `--regid=${user.gid}`,
        user.group === undefined ? '--clear-groups' : `--groups=${user.group}`,
        '--inh-caps=-all',
        '--bounding-set=-all',
      ]
    : [];
  return [...drop, '--no-new-privs', '--pdeathsig=KILL', '--'];
}

function exitOf(child: ChildProcess): Promise<string> {
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-errorTailLength);
  });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    child.once('close', (code, signal) => {
      const status = signal ? `was ended by ${signal}` : `exited with ${code}`;
      resolve(errors.trim() ? `${status}: ${errors.trim()}` : status);
    });
  });
}
