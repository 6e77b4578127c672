import { posix } from 'node:path';
import type { Capabilities } from '../catalog/capabilities.ts';
import type { BuildSpec } from '../model/spec.ts';

/** Folders of the guest; build.sh fills them. */
const contextDirectory = '/var/lib/kiln/build/context';
const dockerfileDirectory = '/var/lib/kiln/build/dockerfile';
const traceFile = '/var/lib/kiln/build/trace';
const metadataFile = '/var/lib/kiln/build/metadata.json';
/** In memory: buildctl syncs this file, too. */
const refFile = '/run/kiln-ref';

/** A frontend that was given its command line was called by the one in charge, and looks for no other (frontend/dockerfile/builder/build.go). */
const noForwarding = 'cmdline=';

/**
 * The arguments of `buildctl` for a spec: one word each, for no shell to see. The options are those of the dockerfile.v0
 * frontend of BuildKit v0.20.2 (frontend/dockerui/config.go).
 */
export function buildctlArguments(
  spec: BuildSpec,
  options: {
    capabilities: Pick<Capabilities, 'metadataFile' | 'refFile'>;
    contextFolder?: string;
    dockerfileApart: boolean;
  },
): string[] {
  const context = posix.join(contextDirectory, options.contextFolder ?? '');
  const local = options.dockerfileApart ? dockerfileDirectory : context;
  const frontendOptions = [
    `filename=${options.dockerfileApart ? 'Dockerfile' : spec.dockerfile}`,
    ...(spec.target === undefined ? [] : [`target=${spec.target}`]),
    ...(spec.platform === undefined ? [] : [`platform=${spec.platform}`]),
    ...(spec.noCache ? ['no-cache='] : []),
    ...(spec.builtinFrontend ? [noForwarding] : []),
    ...Object.entries(spec.buildArgs).map(([name, value]) => `build-arg:${name}=${value}`),
    ...Object.entries(spec.labels).map(([key, value]) => `label:${key}=${value}`),
  ];
  return [
    'build',
    '--frontend=dockerfile.v0',
    `--local=context=${context}`,
    `--local=dockerfile=${local}`,
    '--progress=plain',
    `--trace=${traceFile}`,
    ...(options.capabilities.metadataFile ? [`--metadata-file=${metadataFile}`] : []),
    ...(options.capabilities.refFile ? [`--ref-file=${refFile}`] : []),
    ...frontendOptions.map((option) => `--opt=${option}`),
    ...outputArguments(spec),
  ];
}

/** Without `dest` buildctl writes the tar to its standard output, which build.sh leads to the artifact's disk. */
function outputArguments({ output, tags }: BuildSpec): string[] {
  if (output === 'none') return [];
  if (output === 'local') return ['--output=type=tar'];
  // The value is CSV: the quotes keep the commas between several names in one field.
  const names = tags.length > 0 ? `,"name=${tags.join(',')}"` : '';
  return [`--output=type=${output}${names}`];
}
