import { z } from 'zod';
import { buildStates } from '../../model/build.ts';

/** What may be asked in a URL, and in headers. */

const natural = (text: string) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .meta({ description: text });

export const rangeQuery = z.strictObject({
  offset: natural('Byte to start at. Default 0.').default('0').transform(Number),
  follow: z
    .enum(['true', 'false', '1', '0'], 'must be true or false')
    .default('false')
    .meta({ description: 'Whether to go on until the build has ended.' })
    .transform((text) => text === 'true' || text === '1'),
});

/** Of a build's log. */
export const logQuery = rangeQuery.extend({
  attempt: natural(
    'Attempt whose log it is. Default: the last. With an offset it must be named where the build took several.',
  )
    .optional()
    .transform((text) => (text === undefined ? undefined : Number(text))),
});

const time = (description: string) =>
  z.iso
    .datetime({ offset: true, error: 'must be a time such as 2026-01-02T03:04:05Z' })
    .optional()
    .meta({ description })
    .transform((text) => (text === undefined ? undefined : new Date(text)));

export const listQuery = z.strictObject({
  state: z
    .string()
    .optional()
    .meta({ description: `States of builds, separated by commas: ${buildStates.join(', ')}. Default: all.` })
    .transform((text) => text?.split(','))
    .pipe(z.array(z.enum(buildStates, `must be among ${buildStates.join(', ')}`)).optional()),
  tag: z
    .string()
    .max(255, 'is longer than 255 characters')
    .optional()
    .meta({ description: 'A name that the build was to give its image, as it was written there.' }),
  since: time('Builds that were accepted then or later.'),
  until: time('Builds that were accepted before.'),
  limit: natural('Builds a page, 1 to 100. Default 20.')
    .default('20')
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= 100, { message: 'must be 1 to 100' }),
  cursor: z
    .uuid()
    .optional()
    .meta({ description: 'Where the page before ended; the Link header of an answer has it.' }),
});

export const buildHeaders = z.object({
  'X-Registry-Config': z.string().optional().meta({
    description:
      'Accounts of registries for this build alone, as Docker has the header: base64url of {"HOST": {"username": …, "password": …}}, or identitytoken, registrytoken, auth in their place. At most what a header takes; the part registry-config takes 64 KiB.',
  }),
  'Idempotency-Key': z.string().max(257).optional().meta({
    description:
      'A key of your own, such as a UUID: for 24 hours the same request with it is the same build, and another one is refused (422). Such a build goes on when its client goes away; DELETE ends it.',
  }),
});
