import { checkDockerfileBytes, checkFrontendArgument } from '../context/dockerfile/dockerfile.ts';
import { printable } from '../lib/text.ts';
import type { BuildRequest } from '../model/builds.ts';
import type { DockerfilePolicy, SealedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';

export type RequestRules = {
  readonly policy: DockerfilePolicy;
  /** The archive entry that builds run on here. */
  readonly served: string;
};

/** Checks what can be told before the context is there. @throws KilnError PARAM_INVALID, FRONTEND_NOT_ALLOWED, DOCKERFILE_INVALID */
export function checkWithoutContext(
  { spec, dockerfile }: Omit<BuildRequest, 'context'>,
  { policy, served }: RequestRules,
): void {
  if (spec.entry !== undefined && spec.entry !== served) {
    const message = `There is no archive entry '${printable(spec.entry)}' here; this service builds with ${served}.`;
    throw new KilnError('PARAM_INVALID', message, { details: { field: 'entry' } });
  }
  checkFrontendArgument(spec.buildArgs, policy);
  if (dockerfile) checkDockerfileBytes(dockerfile, policy);
}

/**
 * Checks the whole request and seals its context.
 * @returns the context as the build holds it; null where there is none
 * @throws KilnError, those of `checkWithoutContext` and of `seal`
 */
export async function sealRequest(request: BuildRequest, rules: RequestRules): Promise<SealedContext | null> {
  checkWithoutContext(request, rules);
  const { spec, context, dockerfile } = request;
  const { contextDir } = spec;
  if (context)
    return context.seal({ dockerfile: dockerfile ? null : spec.dockerfile, contextDir }, rules.policy);
  if (contextDir !== undefined) {
    const message =
      'A folder of the context is named, and there is no context; send it, or leave context-dir out.';
    throw new KilnError('PARAM_INVALID', message, { details: { field: 'contextDir' } });
  }
  if (dockerfile) return null;
  throw new KilnError(
    'FILE_MISSING',
    "Send the context as the file 'context', or a Dockerfile as the file 'dockerfile'.",
  );
}
