import { z } from 'zod';
import { parseImageReference } from './image-reference.ts';

/**
 * What a build puts out: at most one file that kiln keeps, and images that BuildKit pushes to registries. The words are those of
 * `docker buildx build --output`, each of them known here: nothing that a caller writes reaches buildctl as it is.
 */

/** kiln's own machine in a build, as far as it is opened there. Its registries are spoken to without TLS. */
export const hostName = 'host.kiln.internal';

const compressions = ['uncompressed', 'gzip', 'estargz', 'zstd'] as const;
const maxLevels: Readonly<Record<(typeof compressions)[number], number>> = {
  ...{ uncompressed: 0, gzip: 9, estargz: 9, zstd: 22 },
};
/** What an annotation is of, where that is not the manifest of the image. */
export const annotated = ['manifest', 'index', 'manifest-descriptor', 'index-descriptor'] as const;

export const maxOutputs = 5;
const maxNames = 16;
const maxAnnotations = 64;

/** The name of an image, with a tag or without. */
export const imageName = z
  .string()
  .max(255, 'is longer than 255 characters')
  .refine(isName, { message: 'is not a valid image reference' });

const annotationKey = new RegExp(`^(?:(?:${annotated.join('|')}):)?[a-z0-9][a-z0-9._/-]{0,255}$`);

const annotations = z
  .record(z.string(), z.string().regex(/^[^\0\r\n]{0,4096}$/, 'must be one line of at most 4096 characters'))
  .superRefine((record, context) => {
    const keys = Object.keys(record);
    const bad = keys.find((key) => !annotationKey.test(key));
    const rule =
      'keys are lower-case letters (as buildctl makes them), digits and . _ / -, and begin with a letter or digit';
    if (bad !== undefined) context.addIssue({ code: 'custom', path: [bad], message: rule });
    if (keys.length > maxAnnotations)
      context.addIssue({ code: 'custom', message: `at most ${maxAnnotations} are taken` });
  });

const ofImages = {
  names: z
    .array(imageName)
    .max(maxNames, `at most ${maxNames} names are taken`)
    .default([])
    .meta({ description: 'Names of the image. Default: the tags of the build.' }),
  compression: z
    .enum(compressions, `must be one of ${compressions.join(', ')}`)
    .optional()
    .meta({ description: "Of layers. Default: BuildKit's own, gzip." }),
  compressionLevel: z
    .number()
    .int()
    .min(0, 'must be 0 at least')
    .optional()
    .meta({ description: '0 to 9, of zstd to 22.' }),
  forceCompression: z
    .boolean()
    .default(false)
    .meta({ description: 'Compress the layers of base images anew, too.' }),
  ociMediaTypes: z
    .boolean()
    .optional()
    .meta({ description: "Media types of OCI, or of Docker (false). Default: BuildKit's own." }),
  annotations: annotations.default({}).meta({
    description: `KEY=value of the manifest, or ${annotated.map((of) => `${of}:KEY`).join(', ')}.`,
  }),
  rewriteTimestamp: z
    .boolean()
    .default(false)
    .meta({ description: "Set the times of all files to the build argument SOURCE_DATE_EPOCH's." }),
};

const kindOf = (type: 'docker' | 'oci', description: string) =>
  z.strictObject({ type: z.literal(type), ...ofImages }).meta({ description });

export const outputSchema = z
  .discriminatedUnion(
    'type',
    [
      kindOf('docker', 'A tar for docker load, which is kept.'),
      kindOf('oci', 'An OCI image layout as a tar, which is kept.'),
      z
        .strictObject({ type: z.literal('local') })
        .meta({ description: 'The files of the last stage as a tar, which is kept.' }),
      z
        .strictObject({ type: z.literal('image'), ...ofImages })
        .meta({ description: 'An image, which is pushed under each of its names.' }),
    ],
    'type must be docker, oci, local or image',
  )
  .superRefine((output, context) => {
    if (output.type === 'local') return;
    const { compression = 'gzip', compressionLevel = 0 } = output;
    const limit = maxLevels[compression];
    if (compressionLevel > limit)
      context.addIssue({
        code: 'custom',
        path: ['compressionLevel'],
        message: `of ${compression} must be at most ${limit}`,
      });
  })
  .meta({ id: 'Output' });

export type Output = z.output<typeof outputSchema>;
export type OutputInput = z.input<typeof outputSchema>;
export type ImageOutput = Exclude<Output, { readonly type: 'local' }>;
export type PushOutput = Extract<Output, { readonly type: 'image' }>;

/** What is kept of a build as a file; null where nothing is. */
export function keptFormat(outputs: readonly Output[]): Exclude<Output['type'], 'image'> | null {
  return outputs.map(({ type }) => type).find((type) => type !== 'image') ?? null;
}

/** What is pushed, the names completed. */
export function pushesOf({
  outputs,
  tags,
}: {
  readonly outputs: readonly Output[];
  readonly tags: readonly string[];
}): PushOutput[] {
  return outputs.flatMap((output) => (output.type === 'image' ? [withNames(output, tags)] : []));
}

/** An output that names nothing has the tags of the build. */
export function withNames<Named extends ImageOutput>(output: Named, tags: readonly string[]): Named {
  return output.names.length > 0 ? output : { ...output, names: [...tags] };
}

/** Names of one output by how their registries are spoken to: with TLS or, on kiln's own machine, without. */
export function splitByTls(push: PushOutput): (PushOutput & { readonly plainHttp: boolean })[] {
  return [false, true].flatMap((plainHttp) => {
    const names = push.names.filter((name) => isOnHost(name) === plainHttp);
    return names.length === 0 ? [] : [{ ...push, names, plainHttp }];
  });
}

/** The registry of an image's name, such as `docker.io`. */
export function registryOf(name: string): string {
  return parseImageReference(name)?.domain ?? '';
}

/** Whether it names a registry on kiln's own machine. */
export function isOnHost(name: string): boolean {
  return registryOf(name).replace(/:\d+$/, '') === hostName;
}

function isName(text: string): boolean {
  const reference = parseImageReference(text);
  return reference !== null && reference.digest === undefined;
}
