import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningProcess, startLogged, waitForEnd } from '../lib/process/start-process.ts';
import { KilnError } from '../model/error.ts';
import { openStepLog, type StepLog } from './step-log.ts';

/** What every step of making an image is given. */
export type StepContext = {
  /** Holds one log file per step. */
  readonly logDirectory: string;
  /** A line for people. */
  readonly progress: (line: string) => void;
  /** What its programs print, as it comes, for whoever follows; it is in the log file too. */
  readonly output?: (bytes: Buffer) => Promise<void>;
  readonly signal: AbortSignal;
};

/** A step that is silent for this long says what it is at. */
const heartbeatMs = 15_000;
/** How late somebody who follows a step sees what it prints. */
const followMs = 500;

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
  const following = followStep(log, step, context.output);
  try {
    const { succeeded, how } = await waitForEnd(step, signal);
    await following;
    if (succeeded) return;
    const last = (await log.readTail()).join('\n');
    throw new KilnError('INFRA', `${command} ${how}. Its last lines (all of them: ${log.file}):\n${last}`);
  } finally {
    clearInterval(heartbeat);
  }
}

/** Passes on what a step prints until it has ended. A follower that fails does not fail the step. */
async function followStep(
  log: StepLog,
  { ended }: RunningProcess,
  output: StepContext['output'],
): Promise<void> {
  if (!output) return;
  let over = false;
  void ended.then(() => {
    over = true;
  });
  try {
    while (!over) {
      await Promise.race([ended, sleep(followMs)]);
      for await (const bytes of log.readNew()) await output(bytes);
    }
  } catch {
    // Whoever follows is told by its own log what failed there.
  }
}
