import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { hostName, keptFormat, type Output, pushesOf, registryOf, splitByTls } from '../model/output.ts';
import type { BuildSpec } from '../model/spec.ts';
import type { BuildingEntry } from './check-contexts.ts';

/** @throws KilnError PARAM_INVALID, REGISTRY_FORBIDDEN */
export function checkOutputs(spec: BuildSpec, entries: readonly BuildingEntry[]): void {
  const pushes = pushesOf(spec);
  const kept = spec.outputs.filter(({ type }) => type !== 'image');
  if (kept.length > 1) throw refuse('one of docker, oci, local and tar is kept of a build; ask for one');
  if (pushes.some(({ names }) => names.length === 0))
    throw refuse('an image that is pushed needs a name: name=REGISTRY/NAME:TAG, or a tag');
  if ((spec.provenance !== undefined || spec.sbom) && kept.some(({ type }) => type === 'docker'))
    throw refuse('docker load knows no provenance and no SBOM; take oci, or push the image');
  if (pushes.length > 0 && spec.network === 'none')
    throw refuse('a build with network=none reaches no registry, so it cannot push');
  for (const name of pushes.flatMap(({ names }) => names)) refuseLoopback(name);
  for (const entry of entries) checkCapabilities(spec, entry);
}

function checkCapabilities(spec: BuildSpec, { name, capabilities }: BuildingEntry): void {
  const { outputs, tags } = spec;
  const images = outputs.filter((output) => output.type !== 'local');
  const needs = (what: string, version: string): KilnError =>
    refuse(`the BuildKit of ${name} knows no ${what}; take ${version} or newer`);
  if ((spec.provenance !== undefined || spec.sbom) && !capabilities.attestations)
    throw needs('attestations', 'v0.11.0');
  if ((spec.shmBytes !== undefined || spec.ulimits.length > 0) && !capabilities.stepLimits)
    throw needs('limits of steps', 'v0.10.0');
  const asked =
    pushesOf({ outputs, tags }).flatMap(splitByTls).length + (keptFormat(outputs) === null ? 0 : 1);
  if (asked > 1 && !capabilities.manyOutputs)
    throw refuse(`the BuildKit of ${name} knows one output alone; take v0.13.0 or newer, or ask for one`);
  if (images.some(({ rewriteTimestamp }) => rewriteTimestamp) && !capabilities.rewriteTimestamp)
    throw needs('rewrite-timestamp', 'v0.13.0');
  if (images.some(({ annotations }) => Object.keys(annotations).length > 0) && !capabilities.annotations)
    throw needs('annotations', 'v0.11.0');
  if (images.some(asksForCompression) && !capabilities.compressionOptions)
    throw needs('such compression', 'v0.10.0');
}

function asksForCompression(output: Output): boolean {
  return (
    output.type !== 'local' &&
    (output.forceCompression || output.compressionLevel !== undefined || output.compression !== undefined)
  );
}

/** In a build that is its own VM. */
function refuseLoopback(name: string): void {
  const host = registryOf(name);
  if (!/^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i.test(host)) return;
  const message = `'${printable(name, 100)}' names the VM of the build itself; a registry on kiln's machine is ${hostName}:PORT, where KILN_EGRESS_ALLOW opens it.`;
  throw new KilnError('REGISTRY_FORBIDDEN', message, { details: { field: 'outputs' } });
}

function refuse(problem: string): KilnError {
  return new KilnError('PARAM_INVALID', `Field 'output': ${problem}.`, { details: { field: 'outputs' } });
}
