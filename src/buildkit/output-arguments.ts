import { type ImageOutput, pushesOf, splitByTls, withNames } from '../model/output.ts';
import type { BuildSpec } from '../model/spec.ts';

/**
 * The outputs of a spec, as buildctl has them. Of what is kept buildctl writes the tar to its standard output, as no `dest` is given, and
 * build.sh leads that to the artifact's disk. What is pushed comes last: the digest in the metadata is the last one's.
 */
export function outputArguments(spec: BuildSpec): string[] {
  const kept = spec.outputs.flatMap((output) => {
    if (output.type === 'image') return [];
    return output.type === 'local' ? ['type=tar'] : [csv(attributesOf(withNames(output, spec.tags)))];
  });
  const pushed = pushesOf(spec)
    .flatMap(splitByTls)
    .map(({ plainHttp, ...output }) =>
      csv([...attributesOf(output), 'push=true', ...(plainHttp ? ['registry.insecure=true'] : [])]),
    );
  return [...kept, ...pushed].map((output) => `--output=${output}`);
}

function attributesOf(output: ImageOutput): string[] {
  const { type, names, compression, compressionLevel, ociMediaTypes } = output;
  return [
    `type=${type}`,
    ...(names.length > 0 ? [`name=${names.join(',')}`] : []),
    ...(compression === undefined ? [] : [`compression=${compression}`]),
    ...(compressionLevel === undefined ? [] : [`compression-level=${compressionLevel}`]),
    ...(output.forceCompression ? ['force-compression=true'] : []),
    ...(ociMediaTypes === undefined ? [] : [`oci-mediatypes=${ociMediaTypes}`]),
    ...(output.rewriteTimestamp ? ['rewrite-timestamp=true'] : []),
    ...Object.entries(output.annotations).map(([key, value]) => `${annotationName(key)}=${value}`),
  ];
}

/** `index:KEY` is BuildKit's `annotation-index.KEY`. */
function annotationName(key: string): string {
  const [, of, rest] = /^([a-z-]+):(.*)$/.exec(key) ?? [];
  return of === undefined ? `annotation.${key}` : `annotation-${of}.${rest}`;
}

/** As Go's encoding/csv reads it. */
function csv(fields: readonly string[]): string {
  return fields.map((field) => (/[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',');
}
