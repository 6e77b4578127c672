import { parseFamiliarName } from '@swimlane/docker-reference';
import { z } from 'zod';
import { printable } from '../lib/text.ts';
import { type ErrorCode, KilnError } from './error.ts';

/**
 * What a build is asked to do: `docker build`'s words, completed and checked once at the door.
 * The same schema validates both edges and makes the API document.
 */

const argumentName = /^[A-Za-z_][A-Za-z0-9_.]*$/;
const labelKey = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
const stageName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** argv of the guest is limited; one value of 64 KB is far more than any Dockerfile asks for. */
const maxValueBytes = 64 * 1024;
const maxPairs = 256;

// Without NUL: each value becomes one argv word in the guest.
const value = z.string().refine((text) => Buffer.byteLength(text) <= maxValueBytes && !text.includes('\0'), {
  message: `must be at most ${maxValueBytes} bytes and hold no NUL`,
});

const pairs = (key: RegExp) =>
  z
    .record(z.string().max(256).regex(key, `names must match ${key.source}`), value)
    .refine((record) => Object.keys(record).length <= maxPairs, { message: `at most ${maxPairs} entries` });

export const specSchema = z
  .strictObject({
    entry: z.string().regex(stageName).max(128).optional().meta({
      description:
        'Archive entry to build with, such as buildkit-v0.20.2. Default: the entry this service runs.',
    }),
    dockerfile: z
      .string()
      .min(1)
      .max(4096)
      .refine((path) => !path.startsWith('/') && !path.split('/').includes('..') && !path.includes('\0'), {
        message: 'must be a path inside the context',
      })
      .default('Dockerfile')
      .meta({ description: 'Path of the Dockerfile in the context.' }),
    target: z.string().regex(stageName).max(128).optional().meta({ description: 'Stage to build.' }),
    buildArgs: pairs(argumentName).default({}).meta({ description: 'Build arguments, NAME=value.' }),
    labels: pairs(labelKey).default({}).meta({ description: 'Labels of the image, key=value.' }),
    noCache: z.boolean().default(false).meta({ description: 'Do not use cached steps.' }),
    platform: z
      .enum(['linux/amd64'])
      .optional()
      .meta({ description: "Platform of the image; only the VM's own is offered." }),
    tags: z
      .array(z.string().max(255).refine(isReference, { message: 'is not a valid image reference' }))
      .max(16)
      .default([])
      .meta({ description: 'Names given to the image.' }),
    output: z.enum(['none', 'docker', 'oci', 'local']).default('none').meta({
      description:
        'What to keep: a tar for docker load, an OCI layout as tar, or the files of the last stage as tar.',
    }),
    timeoutSeconds: z
      .number()
      .int()
      .min(1)
      .max(24 * 3600)
      .optional()
      .meta({ description: 'Longest time the build may run in its VM.' }),
  })
  .meta({ id: 'BuildSpec' });

export type BuildSpec = z.output<typeof specSchema>;
/** A spec as a caller may give it, defaults left out. */
export type BuildSpecInput = z.input<typeof specSchema>;

/** @throws KilnError PARAM_INVALID, REF_INVALID or PLATFORM_UNSUPPORTED, naming the field. */
export function parseSpec(input: unknown): BuildSpec {
  const parsed = specSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const codes: Record<string, ErrorCode> = { tags: 'REF_INVALID', platform: 'PLATFORM_UNSUPPORTED' };
  const code = codes[String(path[0])] ?? 'PARAM_INVALID';
  const field = printable(path.join('.') || 'spec');
  throw new KilnError(code, `Field '${field}': ${printable(issue?.message ?? 'invalid')}.`, {
    details: { field },
  });
}

function isReference(text: string): boolean {
  try {
    return parseFamiliarName(text).digest === undefined;
  } catch {
    return false;
  }
}
