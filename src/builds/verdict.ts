import type { BuildctlResult } from '../buildkit/run-buildctl.ts';
import type { Verdict } from '../model/build.ts';
import { KilnError } from '../model/error.ts';
import { classOfCode, type FailureClass } from '../model/failure-class.ts';
import { classifyFailure, type Evidence } from './classify-failure.ts';

/** How buildctl ended, with what is known of why, and the bounds that the build had. */
export type Exit = Pick<BuildctlResult, 'exitCode' | 'missingFrontend'> &
  Evidence & { readonly memoryMiB: number; readonly diskBytes: number };

/** How a build ended whose buildctl ran to its end. */
export function verdictOfExit(exit: Exit): Verdict {
  const { exitCode, missingFrontend } = exit;
  if (exitCode === 0)
    return { state: 'succeeded', exitCode, code: null, failureClass: null, message: 'The build succeeded.' };
  const failureClass = classifyFailure(exit);
  const explained = explainClass(failureClass, exit);
  const because = missingFrontend === null ? explained : explainFrontend(missingFrontend);
  const message = `buildctl exited with ${exitCode}${because === null ? '' : `: ${because}`}.`;
  return { state: 'failed', exitCode, code: null, failureClass, message };
}

/** Null where the log says it all. */
function explainClass(failureClass: FailureClass, exit: Exit): string | null {
  const { failedStep, refusal, memoryMiB, diskBytes } = exit;
  const step = failedStep ? `the step ${failedStep.name}` : 'the build';
  switch (failureClass) {
    case 'OOM':
      return `${step} needs more memory than the ${memoryMiB} MiB that its VM has (KILN_VM_MEMORY_MIB), so that its kernel killed a process`;
    case 'DISK_FULL':
      return `${step} filled the disk of its VM, which has ${diskBytes} bytes (KILN_VM_DISK_BYTES)`;
    case 'NETWORK_REFUSED':
      return `${step} was refused a connection to ${refusal?.destination}, ${refusal?.reason}, by the rules of this service (KILN_EGRESS_ALLOW, KILN_EGRESS_ONLY, KILN_EGRESS_DENY)`;
    case 'REGISTRY_UNAVAILABLE':
      return `the registry that ${step} needs did not answer as one; try again later`;
    case 'REGISTRY_AUTH':
      return `the registry that ${step} needs wants another account, or has no such image`;
    case 'USER_ERROR':
    case 'TIMEOUT':
    case 'CANCELLED':
    case 'CONTEXT_INVALID':
    case 'INFRA':
      return null;
  }
}

function explainFrontend(name: string): string {
  return (
    `the frontend ${name}, which the Dockerfile's syntax line asks for, could not be pulled; ` +
    'set a mirror that has it (KILN_REGISTRY_MIRRORS), open its registry (KILN_EGRESS_ALLOW), ' +
    "or send builtin-frontend=true to build with BuildKit's own"
  );
}

/** How something ended that an error ended: a build or an operation. */
export function verdictOfError(error: unknown): Verdict {
  const { code, message } = KilnError.from(error);
  const state = code === 'CANCELLED' ? 'cancelled' : code === 'DRAINING' ? 'interrupted' : 'failed';
  return { state, exitCode: null, code, failureClass: classOfCode[code], message };
}
