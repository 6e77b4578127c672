import { setTimeout as sleep } from 'node:timers/promises';
import { type BuildState, isTerminal } from './build.ts';
import { KilnError } from './error.ts';

/** What is cancelled ends within seconds; only a full disk keeps it from its end for longer. */
const deadlineMs = 30_000;

/**
 * Waits for the end of a build or an operation that was cancelled. @returns its record then
 * @param what Such as `Build 01a2…`.
 * @throws KilnError STORAGE_FULL where that end could not be recorded in time
 */
export async function waitForCancelled<Kept extends { readonly state: BuildState }>(
  what: string,
  { done, get }: { done: Promise<void>; get: () => Promise<Kept> },
): Promise<Kept> {
  await Promise.race([done, sleep(deadlineMs, undefined, { ref: false })]);
  const kept = await get();
  if (isTerminal(kept.state)) return kept;
  throw new KilnError(
    'STORAGE_FULL',
    `${what} is being cancelled; its end could not be recorded in ${deadlineMs / 1000} s. Most likely the disk of the build service is full; its log tells.`,
  );
}
