import type { Capabilities } from '../catalog/capabilities.ts';
import type { NamedContextSummary } from '../model/build.ts';
import type { NamedArchive } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { kindOfSource, normalizeName, normalizeNames, showSource } from '../model/named-context.ts';
import type { BuildSpec } from '../model/spec.ts';

/** An entry that is to build. */
export type BuildingEntry = {
  readonly name: string;
  readonly capabilities: Capabilities;
};

/**
 * Checks the named contexts of a build.
 * @param archives names of those that come as archives
 * @throws KilnError PARAM_INVALID, also where one of the entries knows none
 */
export function checkNamedContexts(
  { buildContexts }: BuildSpec,
  archives: readonly string[],
  entries: readonly BuildingEntry[],
): void {
  const names = normalizeNames([...archives, ...Object.keys(buildContexts)]);
  const unable = entries.find(({ capabilities }) => !capabilities.namedContexts);
  if (names.length > 0 && unable)
    throw refuse(`The BuildKit of ${unable.name} knows no named contexts; take v0.10.0 or newer, or none.`);
}

/** Once it is known what the archives are. @throws KilnError PARAM_INVALID */
export function checkImages(named: readonly NamedArchive[], entries: readonly BuildingEntry[]): void {
  const image = named.find(({ imageDigest }) => imageDigest !== null);
  const unable = entries.find(({ capabilities }) => !capabilities.ociLayouts);
  if (image && unable)
    throw refuse(
      `The context '${image.name}' is an OCI image layout, which the BuildKit of ${unable.name} does not take; take v0.11.0 or newer, or docker-image://.`,
    );
}

/** What a record says of all named contexts. */
export function summarizeContexts(
  { buildContexts }: BuildSpec,
  named: readonly NamedArchive[],
): NamedContextSummary[] {
  return [
    ...named.map(
      ({ name, imageDigest, summary }): NamedContextSummary => ({
        name,
        kind: imageDigest === null ? 'folder' : 'oci-layout',
        archive: summary,
      }),
    ),
    ...Object.entries(buildContexts).map(
      ([name, source]): NamedContextSummary => ({
        name: normalizeName(name),
        kind: kindOfSource(source),
        archive: null,
      }),
    ),
  ];
}

/** A spec that may be kept and shown. */
export function withoutQueries(spec: BuildSpec): BuildSpec {
  const shown = Object.entries(spec.buildContexts).map(([name, source]) => [name, showSource(source)]);
  return { ...spec, buildContexts: Object.fromEntries(shown) };
}

function refuse(message: string): KilnError {
  return new KilnError('PARAM_INVALID', message, { details: { field: 'buildContexts' } });
}
