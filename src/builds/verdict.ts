import type { BuildctlResult } from '../buildkit/run-buildctl.ts';
import type { Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';

/** How a build ended whose buildctl ran to its end. */
export function verdictOfExit({
  exitCode,
  missingFrontend,
}: Pick<BuildctlResult, 'exitCode' | 'missingFrontend'>): Verdict {
  if (exitCode === 0) return { state: 'succeeded', exitCode, code: null, message: 'The build succeeded.' };
  const because = missingFrontend === null ? '' : `: ${explainFrontend(missingFrontend)}`;
  return { state: 'failed', exitCode, code: null, message: `buildctl exited with ${exitCode}${because}.` };
}

function explainFrontend(name: string): string {
  return (
    `the frontend ${name}, which the Dockerfile's syntax line asks for, could not be pulled; ` +
    'set a mirror that has it (KILN_REGISTRY_MIRRORS), open its registry (KILN_EGRESS_ALLOW), ' +
    "or send builtin-frontend=true to build with BuildKit's own"
  );
}

/** How a build ended that something else ended. */
export function verdictOfError(error: unknown): Verdict {
  const { code, message } = KilnError.from(error);
  const state = code === 'CANCELLED' ? 'cancelled' : code === 'DRAINING' ? 'interrupted' : 'failed';
  return { state, exitCode: null, code, message };
}
