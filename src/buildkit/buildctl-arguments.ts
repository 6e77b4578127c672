import { posix } from 'node:path';
import type { Capabilities } from '../catalog/capabilities.ts';
import type { BuildSpec } from '../model/spec.ts';
import { outputArguments } from './output-arguments.ts';

/** Folders of the guest; build.sh fills them. */
const contextDirectory = '/var/lib/kiln/build/context';
const dockerfileDirectory = '/var/lib/kiln/build/dockerfile';
const traceFile = '/var/lib/kiln/build/trace';
const metadataFile = '/var/lib/kiln/build/metadata.json';
/** In memory: buildctl syncs this file, too. */
const refFile = '/run/kiln-ref';

/** A frontend that was given its command line was called by the one in charge, and looks for no other (frontend/dockerfile/builder/build.go). */
const noForwarding = 'cmdline=';

/** As buildx has it: a frontend that knows no named contexts must refuse them, and not build without. */
const needsContexts = 'frontend.caps=moby.buildkit.frontend.contexts+forward';

/** What a Dockerfile may name beside its stages. */
export type NamedContext = { readonly name: string } & (
  | {
      /** An image or a URL, which BuildKit fetches. */
      readonly source: string;
    }
  | {
      /** The folder on the disk of the context that holds it. */
      readonly directory: string;
      /** Of the one image in it, where it is an OCI image layout. */
      readonly imageDigest: string | null;
    }
);

/**
 * The arguments of `buildctl` for a spec: one word each, for no shell to see. The options are those of the dockerfile.v0
 * frontend of BuildKit v0.20.2 (frontend/dockerui/config.go).
 */
export function buildctlArguments(
  spec: BuildSpec,
  options: {
    capabilities: Pick<Capabilities, 'metadataFile' | 'refFile'>;
    contextFolder?: string;
    namedContexts?: readonly NamedContext[];
    dockerfileApart: boolean;
  },
): string[] {
  const context = posix.join(contextDirectory, options.contextFolder ?? '');
  const local = options.dockerfileApart ? dockerfileDirectory : context;
  const { namedContexts = [] } = options;
  const frontendOptions = [
    `filename=${options.dockerfileApart ? 'Dockerfile' : spec.dockerfile}`,
    ...(spec.target === undefined ? [] : [`target=${spec.target}`]),
    ...(spec.platform === undefined ? [] : [`platform=${spec.platform}`]),
    ...noCacheOptions(spec),
    ...(spec.builtinFrontend ? [noForwarding] : []),
    ...Object.entries(spec.buildArgs).map(([name, value]) => `build-arg:${name}=${value}`),
    ...Object.entries(spec.labels).map(([key, value]) => `label:${key}=${value}`),
    ...stepOptions(spec),
    ...attestationOptions(spec),
    ...(namedContexts.length > 0 ? [needsContexts] : []),
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
    ...namedContexts.flatMap(contextArguments),
    ...outputArguments(spec),
  ];
}

/** Without names it is of all stages. */
function noCacheOptions({ noCache, noCacheFilter }: BuildSpec): string[] {
  if (noCache) return ['no-cache='];
  return noCacheFilter.length > 0 ? [`no-cache=${noCacheFilter.join(',')}`] : [];
}

/** Lists are CSV; nothing in them needs quotes. */
function stepOptions({ extraHosts, shmBytes, ulimits }: BuildSpec): string[] {
  return [
    ...(extraHosts.length > 0 ? [`add-hosts=${extraHosts.join(',')}`] : []),
    ...(shmBytes === undefined ? [] : [`shm-size=${shmBytes}`]),
    ...(ulimits.length > 0 ? [`ulimit=${ulimits.join(',')}`] : []),
  ];
}

function attestationOptions({ provenance, sbom }: BuildSpec): string[] {
  const generator = sbom?.generator === undefined ? '' : `generator=${sbom.generator}`;
  return [
    ...(provenance === undefined ? [] : [`attest:provenance=mode=${provenance}`]),
    ...(sbom === undefined ? [] : [`attest:sbom=${generator}`]),
  ];
}

/** In the guest it has a name of ours, as buildctl's options and BuildKit's references do not take any. */
function contextArguments(context: NamedContext, index: number): string[] {
  const option = `--opt=context:${context.name}=`;
  if ('source' in context) return [`${option}${context.source}`];
  const local = `named-${index + 1}`;
  const directory = posix.join(contextDirectory, context.directory);
  const { imageDigest } = context;
  return imageDigest === null
    ? [`--local=${local}=${directory}`, `${option}local:${local}`]
    : [`--oci-layout=${local}=${directory}`, `${option}oci-layout://${local}@${imageDigest}`];
}
