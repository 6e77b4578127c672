import { z } from 'zod';
import { printable } from '../lib/text.ts';
import { provenance, sbom } from './attestations.ts';
import { type ErrorCode, KilnError } from './error.ts';
import { findNameProblem, findSourceProblem, maxNamedContexts } from './named-context.ts';
import { imageName, maxOutputs, outputSchema } from './output.ts';
import { extraHosts, shmBytes, ulimits } from './step-settings.ts';

/**
 * What a build is asked to do: `docker build`'s words, completed and checked once at the door.
 * The same schema validates both edges and makes the API document.
 */

const argumentName = /^[A-Za-z_][A-Za-z0-9_.]*$/;
const labelKey = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
/** Relative, and nothing that leaves the folder it starts in. */
const innerPath = z
  .string()
  .min(1, 'is empty')
  .max(4096, 'is longer than 4096 characters')
  .refine((path) => !path.startsWith('/') && !path.split('/').includes('..') && !path.includes('\0'), {
    message: 'must be a path inside the context',
  });

const stageName = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** One value; far more than any Dockerfile asks for. Linux takes 128 KiB as one word of a command. */
const maxValueBytes = 64 * 1024;
/** All build arguments and labels, names and values. They are words of one command in the guest, and Linux takes 2 MiB there. */
const maxPairsBytes = 1024 * 1024;
const maxPairs = 256;

// Without NUL: each value becomes one argv word in the guest.
const value = z.string().refine((text) => Buffer.byteLength(text) <= maxValueBytes && !text.includes('\0'), {
  message: `must be at most ${maxValueBytes} bytes and hold no NUL`,
});

const maxKeyLength = 256;

const pairs = (key: RegExp, rule: string) =>
  z
    .record(z.string(), value)
    .refine((record) => Object.keys(record).length <= maxPairs, { message: `at most ${maxPairs} are taken` })
    .superRefine((record, context) => {
      const bad = Object.keys(record).find((name) => !key.test(name) || name.length > maxKeyLength);
      if (bad !== undefined) context.addIssue({ code: 'custom', path: [bad], message: rule });
    });

const buildContexts = z
  .record(z.string(), z.string())
  .refine((contexts) => Object.keys(contexts).length <= maxNamedContexts, {
    message: `at most ${maxNamedContexts} are taken`,
  })
  .superRefine((contexts, context) => {
    for (const [name, source] of Object.entries(contexts)) {
      const nameProblem = findNameProblem(name);
      const problem = nameProblem === null ? findSourceProblem(source) : `the name ${nameProblem}`;
      if (problem !== null) context.addIssue({ code: 'custom', path: [name], message: problem });
    }
  });

export const specSchema = z
  .strictObject({
    entry: z
      .string()
      .regex(stageName, 'is not the name of an archive entry')
      .max(128, 'is too long')
      .optional()
      .meta({
        description:
          'Archive entry to build with, such as buildkit-v0.20.2. Default: the entry this service runs.',
      }),
    dockerfile: innerPath
      .default('Dockerfile')
      .meta({ description: 'Path of the Dockerfile in the context.' }),
    contextDir: innerPath.optional().meta({
      description:
        'Folder of the archive that is the context, such as the one top folder of an archive from a forge. Default: all of it.',
    }),
    target: z
      .string()
      .regex(stageName, 'is not the name of a stage')
      .max(128, 'is too long')
      .optional()
      .meta({ description: 'Stage to build.' }),
    buildArgs: pairs(argumentName, 'names are letters, digits, _ and ., and do not begin with a digit')
      .default({})
      .meta({ description: 'Build arguments, NAME=value.' }),
    labels: pairs(labelKey, 'keys are letters, digits and . _ / -, and begin with a letter or digit')
      .default({})
      .meta({ description: 'Labels of the image, key=value.' }),
    buildContexts: buildContexts.default({}).meta({
      description:
        'Named contexts that are no archives, NAME=source: docker-image://NAME, the URL of a git repository (https://HOST/REPO.git#REF:FOLDER), or that of one file. They take the place of a stage or an image of that name, and can be copied from. In a record, queries of URLs are left out.',
    }),
    noCacheFilter: z
      .array(z.string().regex(stageName, 'is not the name of a stage').max(128, 'is too long'))
      .max(64, 'at most 64 are taken')
      .default([])
      .meta({ description: 'Stages whose cached steps are not used.' }),
    noCache: z.boolean().default(false).meta({ description: 'Do not use cached steps.' }),
    builtinFrontend: z.boolean().default(false).meta({
      description:
        "Build with BuildKit's own Dockerfile frontend, whatever # syntax= or BUILDKIT_SYNTAX asks for.",
    }),
    platform: z
      .enum(['linux/amd64'], 'only linux/amd64 is offered')
      .optional()
      .meta({ description: "Platform of the image; only the VM's own is offered." }),
    tags: z
      .array(imageName)
      .max(16, 'at most 16 are taken')
      .default([])
      .meta({ description: 'Names given to the image.' }),
    outputs: z.array(outputSchema).max(maxOutputs, `at most ${maxOutputs} are taken`).default([]).meta({
      description:
        'What to put out: a tar for docker load, an OCI layout as a tar or the files of the last stage as a tar, one of which is kept, and images that are pushed.',
    }),
    provenance,
    sbom,
    extraHosts,
    shmBytes,
    ulimits,
    network: z.enum(['default', 'none'], 'must be default or none').default('default').meta({
      description:
        'What the build may reach: whatever this service opens to builds (default), or nothing (none), so that images cannot be pulled either.',
    }),
    retry: z.enum(['infra', 'never'], 'must be infra or never').default('infra').meta({
      description:
        'Whether the build is run once more, on another VM, where its VM or the service was lost under it (infra), or runs at most once (never).',
    }),
    timeoutSeconds: z
      .number()
      .int('must be whole seconds')
      .min(1, 'must be at least 1 second')
      .max(24 * 3600, 'must be at most 24 hours')
      .optional()
      .meta({ description: 'Longest time the build may run in its VMs, all attempts together.' }),
    noOutputTimeoutSeconds: z
      .number()
      .int('must be whole seconds')
      .min(1, 'must be at least 1 second')
      .max(24 * 3600, 'must be at most 24 hours')
      .optional()
      .meta({ description: 'How long the build may print nothing.' }),
  })
  .refine(({ buildArgs, labels }) => countBytes(buildArgs) + countBytes(labels) <= maxPairsBytes, {
    path: ['buildArgs'],
    message: `build arguments and labels together must be at most ${maxPairsBytes} bytes`,
  })
  .meta({ id: 'BuildSpec' });

export type BuildSpec = z.output<typeof specSchema>;
/** A spec as a caller may give it, defaults left out. */
export type BuildSpecInput = z.input<typeof specSchema>;

/**
 * @param names What the caller calls the parts of the spec, where that is something else.
 * @throws KilnError PARAM_INVALID, REF_INVALID or PLATFORM_UNSUPPORTED, naming the field.
 */
export function parseSpec(input: unknown, names: Readonly<Record<string, string>> = {}): BuildSpec {
  const parsed = specSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const codes: Record<string, ErrorCode> = { tags: 'REF_INVALID', platform: 'PLATFORM_UNSUPPORTED' };
  const [part = 'spec', ...rest] = path.map(String);
  const isName = (part === 'outputs' && path.includes('names')) || path.includes('generator');
  const code = isName ? 'REF_INVALID' : (codes[part] ?? 'PARAM_INVALID');
  const field = printable([names[part] ?? part, ...rest].join('.'));
  throw new KilnError(code, `Field '${field}': ${printable(issue?.message ?? 'invalid')}.`, {
    details: { field },
  });
}

/** Named values as a record; of one name the last counts, as with `docker build`. @throws KilnError PARAM_INVALID */
export function recordOf(
  field: string,
  pairs: readonly (readonly [name: string, value: string])[],
): Record<string, string> {
  // The one name that no record keeps.
  if (pairs.some(([name]) => name === '__proto__'))
    throw new KilnError('PARAM_INVALID', `Field '${field}': nothing can be called __proto__.`, {
      details: { field },
    });
  return Object.fromEntries(pairs);
}

function countBytes(record: Readonly<Record<string, string>>): number {
  return Object.entries(record).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value),
    0,
  );
}
