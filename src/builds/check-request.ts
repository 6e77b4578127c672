import { checkDockerfileBytes, checkFrontendArgument } from '../context/dockerfile/dockerfile.ts';
import { printable } from '../lib/text.ts';
import type { BuildRequest } from '../model/builds.ts';
import type { DockerfilePolicy, SealedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { maxMatrixBuilds } from '../model/matrix.ts';
import type { BuildSpec } from '../model/spec.ts';

export type RequestRules = {
  readonly policy: DockerfilePolicy;
  /** Whether all builds use BuildKit's own frontend. */
  readonly builtinFrontend: boolean;
  /** @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE */
  readonly findEntry: (asked: string | undefined) => { readonly name: string };
};

/** A request whose every part was checked. */
export type SealedRequest = {
  readonly spec: BuildSpec;
  /** Null where there is none. */
  readonly context: SealedContext | null;
  readonly dockerfile: Buffer | null;
  readonly warnings: readonly string[];
};

/** Checks the entries of a matrix. @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE, PARAM_INVALID */
export function checkEntries(entries: readonly string[], { findEntry }: RequestRules): void {
  const refuse = (message: string): KilnError =>
    new KilnError('PARAM_INVALID', message, { details: { field: 'entry' } });
  if (entries.length === 0 || entries.length > maxMatrixBuilds)
    throw refuse(`${entries.length} entries are named; 1 to ${maxMatrixBuilds} are taken.`);
  const names = entries.map((entry) => findEntry(entry).name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw refuse(`${twice} is named twice; name each entry once.`);
}

/** Checks what can be told before the context is there. @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE, PARAM_INVALID, FRONTEND_NOT_ALLOWED, DOCKERFILE_INVALID */
export function checkWithoutContext(
  { spec, dockerfile }: Omit<BuildRequest, 'context'>,
  rules: RequestRules,
): { frontend: string | null } {
  rules.findEntry(spec.entry);
  const policy = policyFor(spec, rules);
  checkFrontendArgument(spec.buildArgs, policy);
  return { frontend: dockerfile && checkDockerfileBytes(dockerfile, policy) };
}

/**
 * Checks the whole request and seals its context.
 * @throws KilnError, those of `checkWithoutContext` and of `seal`
 */
export async function sealRequest(request: BuildRequest, rules: RequestRules): Promise<SealedRequest> {
  const alone = checkWithoutContext(request, rules);
  const { spec, context, dockerfile } = request;
  const { contextDir } = spec;
  if (!context && contextDir !== undefined) {
    const message =
      'A folder of the context is named, and there is no context; send it, or leave context-dir out.';
    throw new KilnError('PARAM_INVALID', message, { details: { field: 'contextDir' } });
  }
  if (!context && !dockerfile) {
    throw new KilnError(
      'FILE_MISSING',
      "Send the context as the file 'context', or a Dockerfile as the file 'dockerfile'.",
    );
  }
  const files = { dockerfile: dockerfile ? null : spec.dockerfile, contextDir };
  const sealed = context ? await context.seal(files, policyFor(spec, rules)) : null;
  const builtinFrontend = spec.builtinFrontend || rules.builtinFrontend;
  const asked = spec.buildArgs['BUILDKIT_SYNTAX'] ?? alone.frontend ?? sealed?.frontend ?? null;
  return {
    spec: { ...spec, builtinFrontend },
    context: sealed,
    dockerfile,
    warnings: builtinFrontend && asked !== null ? [ignoredFrontend(asked)] : [],
  };
}

/** A frontend that is not used need not be forbidden. */
function policyFor(spec: BuildSpec, { policy, builtinFrontend }: RequestRules): DockerfilePolicy {
  return spec.builtinFrontend || builtinFrontend ? { ...policy, customFrontends: true } : policy;
}

function ignoredFrontend(name: string): string {
  return `The frontend '${printable(name)}' that this build asks for is not used: builtin-frontend is set, so BuildKit's own Dockerfile frontend builds it.`;
}
