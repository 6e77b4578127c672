import type { Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';

/** How a build ended whose buildctl ran to its end. */
export function verdictOfExit(exitCode: number): Verdict {
  return exitCode === 0
    ? { state: 'succeeded', exitCode, code: null, message: 'The build succeeded.' }
    : { state: 'failed', exitCode, code: null, message: `buildctl exited with ${exitCode}.` };
}

/** How a build ended that something else ended. */
export function verdictOfError(error: unknown): Verdict {
  const { code, message } = KilnError.from(error);
  const state = code === 'CANCELLED' ? 'cancelled' : code === 'DRAINING' ? 'interrupted' : 'failed';
  return { state, exitCode: null, code, message };
}
