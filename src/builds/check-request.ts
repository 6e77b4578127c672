import { checkDockerfileBytes, checkFrontendArgument } from '../context/dockerfile/dockerfile.ts';
import { printable } from '../lib/text.ts';
import { findSecretForms } from '../logs/mask/secret-forms.ts';
import type { NamedContextSummary } from '../model/build.ts';
import { BuildSecrets } from '../model/build-secrets.ts';
import type { BuildRequest, CheckedRequest } from '../model/builds.ts';
import type { DockerfilePolicy, SealedContexts } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { maxMatrixBuilds } from '../model/matrix.ts';
import type { BuildSpec } from '../model/spec.ts';
import { findKeyProblem } from '../ssh/keys.ts';
import {
  type BuildingEntry,
  checkImages,
  checkNamedContexts,
  summarizeContexts,
  withoutQueries,
} from './check-contexts.ts';
import { checkOutputs } from './check-outputs.ts';

export type RequestRules = {
  readonly policy: DockerfilePolicy;
  /** Whether all builds use BuildKit's own frontend. */
  readonly builtinFrontend: boolean;
  /** Most that a build may ask for. */
  readonly maxTimeoutSeconds: number;
  /** @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE */
  readonly findEntry: (asked: string | undefined) => BuildingEntry;
};

/** A request whose every part was checked. */
export type SealedRequest = {
  /** As it is kept and shown. */
  readonly spec: BuildSpec;
  /** Where named contexts that are no archives come from, in full. */
  readonly sources: BuildSpec['buildContexts'];
  /** Null where there are none. */
  readonly context: SealedContexts | null;
  readonly namedContexts: readonly NamedContextSummary[];
  readonly dockerfile: Buffer | null;
  readonly secrets: BuildSecrets;
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

/**
 * Checks what can be told before the contexts are there.
 * @throws KilnError BUILDKIT_UNKNOWN, BUILDKIT_NOT_MADE, PARAM_INVALID, REGISTRY_FORBIDDEN, SECRET_INVALID, FRONTEND_NOT_ALLOWED, DOCKERFILE_INVALID
 */
export function checkWithoutContext(
  request: CheckedRequest,
  rules: RequestRules,
): { frontend: string | null; entries: readonly BuildingEntry[] } {
  const { spec, dockerfile, archives = [] } = request;
  const { entries: asked } = request;
  if (asked) checkEntries(asked, rules);
  const entries = (asked ?? [spec.entry]).map((entry) => rules.findEntry(entry));
  checkNamedContexts(spec, archives, entries);
  checkOutputs(spec, entries);
  checkTimeout(spec, rules);
  checkSshKeys(request);
  const policy = policyFor(spec, rules);
  checkFrontendArgument(spec.buildArgs, policy);
  return { frontend: dockerfile && checkDockerfileBytes(dockerfile, policy), entries };
}

/**
 * Checks the whole request and seals its contexts.
 * @param request `entries` of a matrix alone
 * @throws KilnError, those of `checkWithoutContext` and of `seal`
 */
export async function sealRequest(
  request: BuildRequest & Pick<CheckedRequest, 'entries'>,
  rules: RequestRules,
): Promise<SealedRequest> {
  const { spec, context, dockerfile, secrets = BuildSecrets.none } = request;
  const { frontend, entries } = checkWithoutContext({ ...request, archives: context?.names ?? [] }, rules);
  const { contextDir } = spec;
  if (!context?.summary && contextDir !== undefined) {
    const message =
      'A folder of the context is named, and there is no context; send it, or leave context-dir out.';
    throw new KilnError('PARAM_INVALID', message, { details: { field: 'contextDir' } });
  }
  if (!context?.summary && !dockerfile) {
    throw new KilnError(
      'FILE_MISSING',
      "Send the context as the file 'context', or a Dockerfile as the file 'dockerfile'.",
    );
  }
  const files = { dockerfile: dockerfile ? null : spec.dockerfile, contextDir };
  await using undo = new AsyncDisposableStack();
  const sealed = undo.use(context && (await context.seal(files, policyFor(spec, rules))));
  const named = sealed?.named ?? [];
  checkImages(named, entries);
  const builtinFrontend = spec.builtinFrontend || rules.builtinFrontend;
  const askedFrontend = spec.buildArgs['BUILDKIT_SYNTAX'] ?? frontend ?? sealed?.frontend ?? null;
  undo.move();
  return {
    spec: { ...withoutQueries(spec), builtinFrontend },
    sources: spec.buildContexts,
    context: sealed,
    namedContexts: summarizeContexts(spec, named),
    dockerfile,
    secrets,
    warnings: [
      ...(builtinFrontend && askedFrontend !== null ? [ignoredFrontend(askedFrontend)] : []),
      ...findSecretForms(secrets).warnings,
    ],
  };
}

function checkTimeout({ timeoutSeconds = 0 }: BuildSpec, { maxTimeoutSeconds: limit }: RequestRules): void {
  if (timeoutSeconds <= limit) return;
  const message = `Builds may take ${limit} s here at most, and this one asks for ${timeoutSeconds} s.`;
  throw new KilnError('PARAM_INVALID', message, { details: { field: 'timeout', limit } });
}

function checkSshKeys({ secrets = BuildSecrets.none }: CheckedRequest): void {
  for (const { id, value } of secrets.sshKeys) {
    const problem = findKeyProblem(value);
    const field = `ssh.${id}`;
    if (problem !== null)
      throw new KilnError('SECRET_INVALID', `Field '${field}' ${problem}.`, { details: { field } });
  }
}

/** A frontend that is not used need not be forbidden. */
function policyFor(spec: BuildSpec, { policy, builtinFrontend }: RequestRules): DockerfilePolicy {
  return spec.builtinFrontend || builtinFrontend ? { ...policy, customFrontends: true } : policy;
}

function ignoredFrontend(name: string): string {
  return `The frontend '${printable(name)}' that this build asks for is not used: builtin-frontend is set, so BuildKit's own Dockerfile frontend builds it.`;
}
