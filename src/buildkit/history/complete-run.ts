import { KilnError } from '../../model/error.ts';
import { type CopiedLog, givingUp } from '../copy-log.ts';
import { splitStatus } from '../split-status.ts';
import { readHistoryLog, readHistoryRecord, type StartCommand } from './build-history.ts';
import type { KeptBytes } from './kept-bytes.ts';
import { PlainProgress } from './plain-progress.ts';
import type { Received } from './received.ts';
import type { SolveStatus } from './solve-status.ts';

/** A run of buildctl that did not exit with 0, and where what it left out goes. */
export type IncompleteRun = {
  /** BuildKit's id of the build; null where it is not known. */
  readonly ref?: string | null | undefined;
  readonly exitCode: number;
  readonly log: CopiedLog;
  readonly received: Received;
  readonly kept: KeptBytes;
  readonly start: StartCommand;
  onLog(bytes: Buffer): Promise<void>;
  onStatus(status: unknown): Promise<void>;
  /** Why the history could not be read to its end. */
  onHistoryLost(error: unknown): void;
};

export type CompletedRun = {
  readonly exitCode: number;
  readonly imageDigest: string | null;
  readonly warnings: readonly string[];
};

/**
 * buildctl stops reading progress three seconds after the build's end: what it had not read yet, it never prints, and a build that
 * succeeded it calls failed. Both are looked up in BuildKit's history of the build: the rest of the log, and how it ended. Where only the
 * rest of the log cannot be had, how the build ended still counts.
 * @throws KilnError INFRA when buildctl gave up and BuildKit does not say how the build ended
 */
export async function completeRun(run: IncompleteRun, signal: AbortSignal): Promise<CompletedRun> {
  const { gaveUp } = run.log;
  const { ref, start } = run;
  const record = gaveUp && ref ? await readHistoryRecord(start, ref, signal) : null;
  const warnings = ref ? await addMissing({ ...run, ref }, signal) : [];
  if (!gaveUp) return { exitCode: run.exitCode, imageDigest: null, warnings };
  if (!record) throw new KilnError('INFRA', unknownEnd);
  if (record.succeeded)
    return { exitCode: 0, imageDigest: record.imageDigest, warnings: [...warnings, succeeded] };
  await run.onLog(givingUp);
  return { exitCode: run.exitCode, imageDigest: null, warnings };
}

const minWriteBytes = 64 * 1024;

const addedLog =
  "buildctl stopped reading this build's progress before its end; the rest of the log was taken from BuildKit's history.";
const brokenLog =
  "BuildKit's history of this build could not be read to its end: where buildctl stopped reading the progress before its end, the rest of the log is missing.";
const succeeded =
  'buildctl exited with an error because it stopped reading progress (moby/buildkit#6940); BuildKit itself recorded that the build succeeded.';
const unknownEnd =
  'buildctl stopped reading progress before it knew how the build ended, and BuildKit has no record of that; send the build again.';

/** @returns What is to be said of it */
async function addMissing(run: IncompleteRun & { ref: string }, signal: AbortSignal): Promise<string[]> {
  const progress = new PlainProgress(run.log.numbers, run.kept);
  let isBroken = false;
  const history = untilBroken(readHistoryLog(run.start, run.ref, signal), signal, (error) => {
    isBroken = true;
    run.onHistoryLost(error);
  });
  let isAdded = false;
  const write = async (text: string): Promise<void> => {
    if (text === '') return;
    const before = isAdded || run.log.lineEnded ? '' : '\n';
    isAdded = true;
    await run.onLog(Buffer.from(before + text, 'latin1'));
  };
  for await (const status of history) {
    signal.throwIfAborted();
    progress.learn(status);
    const { missing, begun } = run.received.missing(status);
    const said = sayMissing(missing);
    if (said) {
      const bytes = Buffer.byteLength(JSON.stringify(said));
      for (const part of splitStatus(said, bytes)) await run.onStatus(part);
    }
    for (const text of gathered(progress.write(missing, begun))) await write(text);
  }
  await write(progress.end());
  if (isBroken) return [brokenLog];
  return isAdded ? [addedLog] : [];
}

/** As far as they can be read; what goes wrong with what was read is passed on. */
async function* untilBroken(
  statuses: AsyncIterable<SolveStatus>,
  signal: AbortSignal,
  onBroken: (error: unknown) => void,
): AsyncGenerator<SolveStatus> {
  try {
    yield* statuses;
  } catch (error) {
    if (signal.aborted) throw error;
    onBroken(error);
  }
}

/** Joins small parts to such that are worth a write. */
function* gathered(parts: Iterable<string>): Generator<string> {
  let text = '';
  for (const part of parts) {
    text += part;
    if (text.length < minWriteBytes) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** As BuildKit would write it; null where nothing is missing. */
function sayMissing(missing: SolveStatus): object | null {
  const parts = Object.entries(missing).filter(([, items]) => items.length > 0);
  return parts.length === 0 ? null : Object.fromEntries(parts);
}
