import { z } from 'zod';

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

export const listQuery = z.strictObject({
  limit: natural('Builds a page, 1 to 100. Default 20.')
    .default('20')
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= 100, { message: 'must be 1 to 100' }),
  cursor: z
    .uuid()
    .optional()
    .meta({ description: 'Where the page before ended; the Link header of an answer has it.' }),
});

export const idempotencyHeaders = z.object({
  'Idempotency-Key': z.string().max(257).optional().meta({
    description:
      'A key of your own, such as a UUID: for 24 hours the same request with it is the same build, and another one is refused (422). Such a build goes on when its client goes away; DELETE ends it.',
  }),
});
