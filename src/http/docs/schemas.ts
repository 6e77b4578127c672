import { z } from 'zod';
import { buildStates, phases, terminalStates } from '../../model/build.ts';
import { errorKinds } from '../../model/error.ts';
import { failureClasses } from '../../model/failure-class.ts';
import { contextKinds } from '../../model/named-context.ts';
import { imageTargets, rebuildSchema, rebuildSteps, stepStates } from '../../model/operation.ts';
import { specSchema } from '../../model/spec.ts';
import { egressSchema } from './egress-schema.ts';

/** What the API answers; the document and the tests are made of these. */

export const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const bytes = z.number().int().min(0);
const codes = Object.keys(errorKinds) as [string, ...string[]];

const verdictSchema = z
  .strictObject({
    state: z.enum(terminalStates),
    exitCode: z.number().int().nullable().meta({ description: 'Of buildctl, where it ran to its end.' }),
    code: z.enum(codes).nullable().meta({ description: 'Null when the Dockerfile itself failed.' }),
    failureClass: z.enum(failureClasses).nullable().meta({
      description:
        "What kind of thing it failed by, read from the exit code, BuildKit's trace, counters of the VM's kernel and the connections that kiln saw, never from what steps print. Null where it succeeded, and for builds of the first releases.",
    }),
    message: z.string(),
  })
  .meta({ id: 'Verdict', description: 'How a build ended.' });

const artifactSchema = z
  .strictObject({ format: z.enum(['docker', 'oci', 'local']), digest, size: bytes })
  .meta({ id: 'Artifact', description: 'One kept output of a build, a tar.' });

const pushedSchema = z
  .strictObject({ reference: z.string(), digest: z.string() })
  .meta({ id: 'PushedImage', description: 'An image in a registry.' });

const attemptSchema = z
  .strictObject({
    number: z.number().int().min(1),
    vm: z.string().meta({ description: 'Id of its VM.' }),
    started: z.iso.datetime(),
    ended: z.iso.datetime().nullable().meta({ description: 'Null while it runs.' }),
    seconds: z.number().nullable().meta({
      description: 'How long it took of the time that the build may take; null while it runs.',
    }),
    error: z
      .strictObject({ code: z.enum(codes), message: z.string() })
      .nullable()
      .meta({ description: 'Why it was no good; null where it ended as the build did.' }),
  })
  .meta({ id: 'Attempt', description: 'One run of a build, in a VM of its own.' });

/** `nullable()` of a named schema comes out as a reference that null does not match. */
const orNull = <Schema extends z.ZodType>(schema: Schema) => z.union([schema, z.null()]);

const times = Object.fromEntries(phases.map((phase) => [phase, z.iso.datetime().nullable()]));

const archiveSchema = z
  .strictObject({ digest, size: bytes, entries: bytes, warnings: z.array(z.string()) })
  .meta({
    id: 'Context',
    description: 'A context as it was accepted; digest and size are those of the plain tar.',
  });

export const recordSchema = z
  .strictObject({
    id: z.uuid(),
    requestId: z.string().nullable().meta({
      description: 'X-Request-Id of the request that it came by; null for builds of the first releases.',
    }),
    traceparent: z.string().nullable().meta({
      description:
        'W3C Trace Context of that request, where it had one: the parent of the spans that tell of the build.',
    }),
    tenant: z.string().meta({ description: 'Whose it is.' }),
    matrix: z.uuid().nullable().meta({
      description: 'The matrix that it is one build of; null for a build by itself.',
    }),
    state: z.enum(buildStates),
    spec: specSchema,
    secrets: z
      .strictObject({
        registries: z.array(z.string()),
        secrets: z.array(z.string()),
        sshKeys: z.array(z.string()),
      })
      .meta({
        description:
          'What it was given that nobody may see, by name: hosts of registries, ids of secrets and of ssh keys.',
      }),
    verdict: orNull(verdictSchema),
    times: z.strictObject(times).meta({ description: 'When each phase was reached.' }),
    vm: z
      .strictObject({
        id: z.string(),
        accelerator: z.enum(['kvm', 'tcg']),
        network: z.enum(['bridge', 'vm']).meta({
          description: "Whose network a RUN step has: one of its own (bridge), or the VM's, shared (vm).",
        }),
      })
      .nullable(),
    attempts: z.array(attemptSchema).meta({
      description: 'In their order; more than one where those before the last were no good.',
    }),
    entry: z
      .strictObject({
        name: z.string(),
        imageDigest: digest,
        versions: z.record(z.string(), z.string()),
      })
      .meta({
        description:
          'What it runs on; until it has a VM, what served when it was sent, and another image may come to serve until then.',
      }),
    context: orNull(archiveSchema),
    namedContexts: z
      .array(z.strictObject({ name: z.string(), kind: z.enum(contextKinds), archive: orNull(archiveSchema) }))
      .meta({
        description:
          'Contexts beside it. `archive` is null of those that BuildKit fetches; where from, the spec says.',
      }),
    imageDigest: digest.nullable(),
    artifact: orNull(artifactSchema),
    pushBegun: z.boolean().meta({
      description: 'Whether it has begun to push: from then on it is not run again.',
    }),
    pushed: z.array(pushedSchema).meta({
      description: 'What it pushed, as kiln read it back from the registries after its end.',
    }),
    egress: z.array(egressSchema),
    warnings: z.array(z.string()).meta({ description: 'What the caller should know of how it was built.' }),
  })
  .meta({ id: 'Build', description: 'The record of a build.' });

const differenceSchema = z.strictObject({
  of: z.enum(['own', 'first']).meta({
    description: "Whether it is a line of this build's log, or one of the first build's that it lacks.",
  }),
  line: z.number().int().min(1).meta({ description: 'Counted from 1.' }),
  text: z.string(),
});

export const matrixSchema = z
  .strictObject({
    id: z.uuid(),
    state: z.enum(['running', 'succeeded', 'failed']),
    builds: z.array(
      z.strictObject({
        entry: z.string(),
        id: z.uuid().meta({ description: 'Of the build.' }),
        state: z.enum(buildStates),
        seconds: z.number().nullable().meta({ description: 'In its VM.' }),
        imageDigest: digest.nullable(),
        firstDifference: differenceSchema.nullable().meta({
          description:
            'Where its log first says something else than that of the first build; times, the order and numbers of steps and the progress of transfers aside. Null where it does not, while one of the two has not ended, and for the first build.',
        }),
      }),
    ),
  })
  .meta({ id: 'Matrix', description: 'Builds of one upload by several archive entries.' });

export const pageSchema = z.strictObject({ builds: z.array(recordSchema) }).meta({ id: 'BuildPage' });

const at = z.iso.datetime();
const stepSchema = z
  .strictObject({
    name: z.enum(rebuildSteps),
    state: z.enum(stepStates),
    started: at.nullable(),
    ended: at.nullable(),
  })
  .meta({ id: 'Step', description: 'A step of an operation.' });

export const operationSchema = z
  .strictObject({
    id: z.uuid(),
    kind: z.literal('rebuild'),
    request: rebuildSchema.extend({ version: z.string(), targets: z.array(z.enum(imageTargets)) }),
    state: z.enum(['running', ...terminalStates]),
    steps: z.array(stepSchema),
    started: at,
    ended: at.nullable(),
    verdict: orNull(verdictSchema),
    image: z
      .strictObject({ digest, versions: z.record(z.string(), z.string()) })
      .nullable()
      .meta({ description: 'The VM image, once it is made.' }),
    ctrDigest: digest
      .nullable()
      .meta({ description: 'Of the manifest of the ctr image, once that is made.' }),
    dqdDigest: digest
      .nullable()
      .meta({ description: 'Of the manifest of the dqd image, once that is made.' }),
    published: z.array(z.strictObject({ reference: z.string(), alias: z.string(), digest })).meta({
      description: 'What is in the registry, by its whole names: that of its version, and its alias.',
    }),
    resumes: z.uuid().nullable().meta({ description: 'The operation that this one goes on with.' }),
  })
  .meta({ id: 'Operation', description: 'A durable piece of work on the images of the host.' });

export const operationsSchema = z.strictObject({ operations: z.array(operationSchema) });
export const servedSchema = z
  .strictObject({
    entry: z.string(),
    version: z.string().nullable().meta({ description: 'Null for the image that a start of kiln makes.' }),
    imageDigest: digest,
  })
  .meta({ id: 'ServedImage', description: 'Which image the builds of an entry run on.' });
export const pruneSchema = z
  .strictObject({
    dryRun: z
      .boolean()
      .default(false)
      .meta({ description: 'Say what would be removed, and remove nothing.' }),
  })
  .meta({ id: 'PruneRequest' });
export const prunedSchema = z
  .strictObject({
    dryRun: z.boolean(),
    images: z.array(
      z.strictObject({ entry: z.string(), kind: z.enum(imageTargets), version: z.string(), bytes }),
    ),
  })
  .meta({
    id: 'Pruned',
    description: 'Images that were removed, or would be, with what they take on the disk.',
  });
export const rollBackSchema = z.strictObject({ entry: z.string().max(128) }).meta({ id: 'RollBackRequest' });

export const eventSchema = z
  .discriminatedUnion('type', [
    z.strictObject({ at, type: z.literal('queued'), place: z.number().int() }),
    z.strictObject({ at, type: z.literal('state'), state: z.enum(buildStates) }),
    z.strictObject({
      ...{ at, type: z.literal('attempt'), attempt: z.number().int() },
      ...{ code: z.enum(codes), message: z.string() },
    }),
    z.strictObject({ at, type: z.literal('paused'), message: z.string() }),
    z.strictObject({ at, type: z.literal('warning'), message: z.string() }),
    z.strictObject({ at, type: z.literal('status'), status: z.unknown() }),
    z.strictObject({ at, type: z.literal('egress'), destination: egressSchema }),
    z.strictObject({ at, type: z.literal('artifact'), artifact: artifactSchema }),
    z.strictObject({ at, type: z.literal('pushed'), image: pushedSchema }),
    z.strictObject({ at, type: z.literal('step'), step: stepSchema }),
    z.strictObject({ at, type: z.literal('verdict'), verdict: verdictSchema }),
  ])
  .meta({
    id: 'BuildEvent',
    description:
      'What happened in a build or an operation. `status` is one SolveStatus object as BuildKit wrote it: vertexes, statuses, logs, warnings; a large one comes in several. `attempt` comes where the one before was no good: the build is queued once more and has another log from there on; `paused` where the service stops: the build goes on after its next start. `step` is of operations alone, as the begin and end of one.',
  });

export const problemSchema = z
  .strictObject({
    type: z.string().meta({ description: 'Where the code is explained, relative to the service.' }),
    title: z.string(),
    status: z.number().int(),
    code: z.enum(codes),
    detail: z.string(),
    entry: z.string().optional().meta({ description: 'The archive entry it is about.' }),
    field: z.string().optional().meta({ description: 'The field of the spec it is about.' }),
    limit: z.number().optional().meta({ description: 'The limit that was broken.' }),
    operation: z.uuid().optional().meta({ description: 'Id of the operation it is about.' }),
    requestId: z.string(),
  })
  .meta({ id: 'Problem', description: 'A refusal, as RFC 9457 has it.' });
