import { z } from 'zod';

/** What is answered to probes. */

const count = z.number().int().min(0);
const poolCounts = { warm: count, frozen: count, leased: count, starting: count, size: count };

export const readinessSchema = z
  .strictObject({
    ready: z.boolean(),
    reason: z.string().nullable(),
    draining: z.boolean(),
    entry: z.string(),
    accelerator: z.strictObject({ name: z.enum(['kvm', 'tcg']), note: z.string().nullable() }),
    pool: z.strictObject({ ...poolCounts, max: count }).meta({ description: 'VMs of all entries together.' }),
    pools: z.array(z.strictObject({ entry: z.string(), ...poolCounts })),
    queue: z.strictObject({ waiting: count, limit: count }),
  })
  .meta({ id: 'Readiness' });

/** What `/readyz` answers: all of it to callers alone. */
export const probeSchema = z.union([readinessSchema, z.strictObject({ ready: z.boolean() })]);

export const versionSchema = z
  .strictObject({ name: z.literal('kiln'), version: z.string(), entry: z.string() })
  .meta({ id: 'Version' });
