import { z } from 'zod';
import type { TerminalState, Verdict } from './build.ts';
import { parseImageReference } from './image-reference.ts';

const word = (pattern: RegExp, rule: string) => z.string().regex(pattern, rule);
const debianPackage = word(/^[a-z0-9][a-z0-9+.-]{0,127}$/, 'must be the name of a Debian package');
const image = word(/^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$/, 'must be a reference of an image');

/** Arguments of images/Dockerfile, and of what stands in for its bases where there is no registry. Hashes and versions of programs are the entry's. */
export const rebuildArgsSchema = z
  .strictObject({
    BASE_IMAGE: image.meta({ description: 'The base of the VM, from a registry.' }),
    KERNEL_PACKAGE: debianPackage.meta({ description: 'Its kernel.' }),
    QEMU_IMAGE: image.meta({
      description:
        'The base of the dqd image, in which VMs of KILN_DRIVER=docker then run; its QEMU must be 8.2 or newer.',
    }),
    DEBIAN_SUITE: word(/^[a-z][a-z0-9.-]{0,63}$/, 'must be the name of a Debian suite').meta({
      description: 'The base of the VM, from Debian packages alone.',
    }),
    DEBIAN_KERNEL_PACKAGE: debianPackage.meta({ description: 'Its kernel.' }),
  })
  .partial()
  .meta({ id: 'RebuildArgs' });

export type RebuildArgs = z.output<typeof rebuildArgsSchema>;

/** The images of an entry: root file system, VM image, and QEMU with the VM image in a container. Each is made from the one before it. */
export const imageTargets = ['ctr', 'vm', 'dqd'] as const;
export type ImageTarget = (typeof imageTargets)[number];

/** What an administrator asks for: the images of an archive entry made anew, checked, published, and the VM image served from then on. */
export const rebuildSchema = z
  .strictObject({
    entry: z.string().max(128, 'is too long').meta({ description: 'Such as buildkit-v0.20.2 or v0.20.2.' }),
    version: z
      .string()
      .regex(/^v\d{1,6}\.\d{1,6}\.\d{1,6}$/, 'must be like v0.1.0')
      .optional()
      .meta({ description: 'Of the images. Default: the next one.' }),
    targets: z
      .array(z.enum(imageTargets, `must be ${imageTargets.join(', ')}`))
      .min(1, 'must name at least one')
      .max(imageTargets.length, 'names one twice')
      .optional()
      .meta({
        description:
          'The images to make; each brings those that it is made from. A VM image is checked and then served. Default: ctr and vm; dqd too where VMs here are containers, or where repo is given.',
      }),
    repo: z
      .string()
      .max(255, 'is longer than 255 characters')
      .refine(isRepository, {
        message: 'must be a repository without a tag, such as registry.example.org/kiln',
      })
      .optional()
      .meta({
        description:
          'Where ctr and dqd are published: as ENTRY_VERSION and ctr_ENTRY_VERSION, which are never moved, then as ENTRY and ctr_ENTRY.',
      }),
    args: rebuildArgsSchema
      .default({})
      .meta({ description: 'Arguments of images/Dockerfile, in place of what the entry pins.' }),
    noCache: z.boolean().default(false).meta({
      description:
        'Fetch packages anew, rather than take those that an earlier image of this host was made from.',
    }),
    dryRun: z.boolean().default(false).meta({ description: 'Say what would be done, and do nothing.' }),
  })
  .meta({ id: 'RebuildRequest' });

export type RebuildRequest = z.output<typeof rebuildSchema>;

/** One that says all that is done. */
export type CompleteRebuild = Omit<RebuildRequest, 'targets'> & {
  readonly version: string;
  /** With all that they are made from. */
  readonly targets: readonly ImageTarget[];
};

/** In their order: the images are made, the VM image boots and builds in a VM, they are published, and the VM image serves. */
export const rebuildSteps = [...imageTargets, 'check', 'publish', 'roll'] as const;
export type StepName = (typeof rebuildSteps)[number];
export const stepStates = ['waiting', 'running', 'done', 'failed', 'skipped'] as const;

export type Step = {
  readonly name: StepName;
  readonly state: (typeof stepStates)[number];
  /** RFC 3339. */
  readonly started: string | null;
  readonly ended: string | null;
};

/**
 * All targets of a rebuild, in their order.
 * @param given.needsDqd Whether VMs here are containers: no VM image serves without its dqd image.
 */
export function completeTargets(
  {
    repo,
    targets = repo === undefined ? ['vm'] : ['dqd'],
  }: {
    readonly repo?: string | undefined;
    readonly targets?: readonly ImageTarget[] | undefined;
  },
  { needsDqd }: { needsDqd: boolean },
): readonly ImageTarget[] {
  const asked = new Set(targets);
  if (asked.has('vm') && needsDqd) asked.add('dqd');
  return imageTargets.slice(0, imageTargets.findLastIndex((target) => asked.has(target)) + 1);
}

/** The steps of a rebuild: a target is a step of its own. */
export function stepsOf({ targets, repo }: Pick<CompleteRebuild, 'targets' | 'repo'>): readonly StepName[] {
  const vm = targets.includes('vm');
  return rebuildSteps.filter((name) => {
    if (name === 'publish') return repo !== undefined;
    return name === 'check' || name === 'roll' ? vm : targets.includes(name);
  });
}

/**
 * A durable piece of work for the whole host, in named steps, with a record, a log and events as a build has them. It ends once; what did
 * not succeed is resumed by another operation, which finds in the caches what was made.
 */
export type Operation = {
  readonly id: string;
  readonly kind: 'rebuild';
  /** With the full name of the entry. */
  readonly request: CompleteRebuild;
  readonly state: 'running' | TerminalState;
  readonly steps: readonly Step[];
  /** RFC 3339. */
  readonly started: string;
  readonly ended: string | null;
  readonly verdict: Verdict | null;
  /** The VM image, once it is made. */
  readonly image: { readonly digest: string; readonly versions: Readonly<Record<string, string>> } | null;
  /** Of the manifest of the ctr image, once that is made. */
  readonly ctrDigest: string | null;
  /** Of the manifest of the dqd image, once that is made. */
  readonly dqdDigest: string | null;
  /** What is in the registry, by its whole names: that of its version, which means it for good, and its alias, until a newer one is published. */
  readonly published: readonly {
    readonly reference: string;
    readonly alias: string;
    readonly digest: string;
  }[];
  /** The operation that this one goes on with. */
  readonly resumes: string | null;
};

function isRepository(text: string): boolean {
  const reference = parseImageReference(text);
  return reference !== null && reference.digest === undefined && reference.tag === undefined;
}
