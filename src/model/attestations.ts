import { z } from 'zod';
import { printable } from '../lib/text.ts';
import { KilnError } from './error.ts';
import { imageName } from './output.ts';

/** What BuildKit attaches to an image of how it was made (provenance) and of what is in it (SBOM). */

export const provenance = z.enum(['min', 'max'], 'must be min or max').optional().meta({
  description:
    "BuildKit's own SLSA provenance of the image: min, or max with the Dockerfile, build arguments and every step.",
});

export const sbom = z
  .strictObject({
    generator: imageName.optional().meta({
      description: "Image that makes it. Default: BuildKit's own, docker/buildkit-syft-scanner.",
    }),
  })
  .optional()
  .meta({ description: 'An SBOM of the image (SPDX), made by an image that is pulled for it.' });

/** Attestations as a spec has them. */
type Attestations = {
  provenance?: string | undefined;
  sbom?: { generator?: string } | undefined;
};

/** The fields `attest` (repeated), `provenance` and `sbom` in the words of `docker buildx build`. @throws KilnError PARAM_INVALID */
export function parseAttestations(fields: {
  readonly attest: readonly string[];
  readonly provenance: string | undefined;
  readonly sbom: string | undefined;
}): Attestations {
  const given: [field: string, type: string, words: string[]][] = [
    ...fields.attest.map((text): [string, string, string[]] => {
      const [type = '', ...words] = text.split(',');
      return ['attest', type.replace(/^type=/, ''), words];
    }),
    ...(['provenance', 'sbom'] as const).flatMap((type): [string, string, string[]][] =>
      fields[type] === undefined ? [] : [[type, type, fields[type].split(',')]],
    ),
  ];
  const found: Attestations = {};
  for (const [field, type, words] of given) {
    if (type === 'provenance') found.provenance = readProvenance(field, words);
    else if (type === 'sbom') found.sbom = readSbom(field, words);
    else throw refuse(field, `'${printable(type, 100)}' is no attestation; known are provenance and sbom`);
  }
  return found;
}

function readProvenance(field: string, words: readonly string[]): string | undefined {
  const [word = '', more] = words;
  if (more === undefined && (word === 'false' || word === 'disabled=true')) return undefined;
  if (more === undefined && ['', 'true', 'min', 'mode=min'].includes(word)) return 'min';
  if (more === undefined && ['max', 'mode=max'].includes(word)) return 'max';
  throw refuse(
    field,
    `'${printable(words.join(), 100)}' is no provenance; it may be true, false, mode=min or mode=max`,
  );
}

function readSbom(field: string, words: readonly string[]): Attestations['sbom'] {
  const [word = '', more] = words;
  if (more === undefined && (word === 'false' || word === 'disabled=true')) return undefined;
  if (more === undefined && ['', 'true'].includes(word)) return {};
  const [, generator] = /^generator=(.+)$/.exec(word) ?? [];
  if (more === undefined && generator !== undefined) return { generator };
  throw refuse(
    field,
    `'${printable(words.join(), 100)}' is no SBOM; it may be true, false or generator=IMAGE`,
  );
}

function refuse(field: string, problem: string): KilnError {
  return new KilnError('PARAM_INVALID', `Field '${field}': ${problem}.`, { details: { field } });
}
