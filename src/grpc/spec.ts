import { normalizeNames } from '../model/named-context.ts';
import { type BuildSpec, type BuildSpecInput, parseSpec, recordOf } from '../model/spec.ts';
import {
  type NameValue,
  Network,
  Output,
  type BuildSpec as ProtoSpec,
  Retry,
} from './generated/kiln/v1/build.ts';
import { toOutputs } from './outputs.ts';

const networks: Readonly<Record<number, BuildSpecInput['network']>> = {
  [Network.NETWORK_DEFAULT]: 'default',
  [Network.NETWORK_NONE]: 'none',
};

const retries: Readonly<Record<number, BuildSpecInput['retry']>> = {
  [Retry.RETRY_INFRA]: 'infra',
  [Retry.RETRY_NEVER]: 'never',
};

const nothingOut = { output: Output.OUTPUT_UNSPECIFIED, outputs: [] };

/** The spec of a request, checked and completed. @throws KilnError PARAM_INVALID, REF_INVALID, PLATFORM_UNSUPPORTED */
export function toSpec(spec: ProtoSpec | undefined): BuildSpec {
  const { buildArgs = [], labels = [], buildContexts = [], network, retry, ...more } = spec ?? {};
  const { output, outputs, ...rest } = { ...nothingOut, ...more };
  const contexts = toPairs(buildContexts);
  normalizeNames(contexts.map(([name]) => name));
  const given = {
    ...rest,
    buildArgs: recordOf('buildArgs', toPairs(buildArgs)),
    labels: recordOf('labels', toPairs(labels)),
    buildContexts: recordOf('buildContexts', contexts),
    outputs: toOutputs(output, outputs),
    // 0 is not specified; a number that is none of ours is left for the schema to refuse.
    network: network ? (networks[network] ?? network) : undefined,
    retry: retry ? (retries[retry] ?? retry) : undefined,
  };
  return parseSpec(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));
}

function toPairs(pairs: readonly NameValue[]): [name: string, value: string][] {
  return pairs.map(({ name, value }) => [name, value]);
}
