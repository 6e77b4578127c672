import { KilnError } from '../model/error.ts';
import type * as model from '../model/output.ts';
import { recordOf } from '../model/spec.ts';
import { Output, type OutputSpec } from './generated/kiln/v1/build.ts';

const types: Readonly<Record<number, model.Output['type']>> = {
  [Output.OUTPUT_DOCKER]: 'docker',
  [Output.OUTPUT_OCI]: 'oci',
  [Output.OUTPUT_LOCAL]: 'local',
  [Output.OUTPUT_IMAGE]: 'image',
};
export const outputTypes: Readonly<Record<model.Output['type'], Output>> = {
  docker: Output.OUTPUT_DOCKER,
  oci: Output.OUTPUT_OCI,
  local: Output.OUTPUT_LOCAL,
  image: Output.OUTPUT_IMAGE,
};
/** Values of Output that ask for nothing. */
const nothing: readonly Output[] = [Output.OUTPUT_UNSPECIFIED, Output.OUTPUT_NONE];

/**
 * The outputs of a request, for the schema to check. A number that is none of ours is left for it to refuse.
 * @param single `output` of the spec
 * @throws KilnError PARAM_INVALID
 */
export function toOutputs(single: Output, outputs: readonly OutputSpec[]): unknown[] {
  if (!nothing.includes(single)) {
    if (outputs.length > 0) {
      const message = "'output' and 'outputs' are both given; give one of them.";
      throw new KilnError('PARAM_INVALID', message, { details: { field: 'outputs' } });
    }
    return [{ type: types[single] ?? single }];
  }
  return outputs.filter(({ type }) => type !== Output.OUTPUT_NONE).map(toOutput);
}

function toOutput({ type, ...rest }: OutputSpec): unknown {
  const { annotations, names, forceCompression, rewriteTimestamp, ...optional } = rest;
  const pairs = annotations.map(({ name, value }) => [name, value] as const);
  const given = {
    ...optional,
    // What is not given is left out: a local output takes none of it.
    ...(names.length > 0 && { names }),
    ...(pairs.length > 0 && { annotations: recordOf('outputs', pairs) }),
    ...(forceCompression && { forceCompression }),
    ...(rewriteTimestamp && { rewriteTimestamp }),
  };
  const defined = Object.entries(given).filter(([, value]) => value !== undefined);
  return { type: types[type] ?? type, ...Object.fromEntries(defined) };
}

export function toOutputSpec(output: model.Output): OutputSpec {
  const type = outputTypes[output.type];
  if (output.type === 'local')
    return { type, names: [], forceCompression: false, annotations: [], rewriteTimestamp: false };
  const { names, annotations, ...rest } = output;
  const pairs = Object.entries(annotations).map(([name, value]) => ({ name, value }));
  return { ...rest, type, names: [...names], annotations: pairs };
}
