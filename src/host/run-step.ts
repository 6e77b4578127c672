import { startLogged, waitForEnd } from '../lib/process/start-process.ts';
import { KilnError } from '../model/error.ts';
import { openStepLog } from './step-log.ts';

/** What every step of making an image is given. */
export type StepContext = {
  /** Holds one log file per step. */
  readonly logDirectory: string;
  /** A line for people. */
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
};

/** A step that is silent for this long says what it is at. */
const heartbeatMs = 15_000;

/**
 * Runs a program of a step; all it prints goes to the step's log file. It and what it started end with kiln.
 * The environment is passed on whole (proxies, Go's and apt's settings are the operator's business), ours on top of it.
 * @throws KilnError INFRA with the log's path and its last lines, STORAGE_FULL when there is no room for a log; the signal's reason on abort.
 */
export async function runStep(
  command: string,
  args: readonly string[],
  context: StepContext & { name: string; env?: Readonly<Record<string, string>> },
): Promise<void> {
  const { name, env = {}, signal, progress } = context;
  signal.throwIfAborted();
  await using log = await openStepLog(context.logDirectory, name);
  const step = startLogged({ command, args }, log.fd, { env });
  const started = performance.now();
  const sayWhere = async (): Promise<void> => {
    const last = (await log.readTail()).at(-1) ?? '';
    progress(
      `${name}  … ${((performance.now() - started) / 1000).toFixed(0)} s: ${last.trim().slice(0, 100)}`,
    );
  };
  const heartbeat = setInterval(() => void sayWhere(), heartbeatMs);
  try {
    const { succeeded, how } = await waitForEnd(step, signal);
    if (succeeded) return;
    const last = (await log.readTail()).join('\n');
    throw new KilnError('INFRA', `${command} ${how}. Its last lines (all of them: ${log.file}):\n${last}`);
  } finally {
    clearInterval(heartbeat);
  }
}
