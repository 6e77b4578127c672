import { z } from 'zod';
import { failureReasons, refusalReasons } from '../../model/build.ts';

const count = z.number().int().min(0);

/** What a record and an event say of where a build went. */
export const egressSchema = z
  .strictObject({
    name: z.string().nullable().meta({
      description: 'As the build looked it up; null where it used a bare address.',
    }),
    address: z.string().nullable().meta({
      description: 'Connected to, or refused; null where there is none.',
    }),
    port: z.number().int().nullable().meta({
      description: 'Null where a name was refused before anything was connected to.',
    }),
    announced: z.string().nullable().meta({
      description:
        "Of a bare address: the name that the build's first bytes say (TLS, HTTP). Nobody has checked it.",
    }),
    allowed: z.boolean(),
    reason: z
      .enum([...refusalReasons, ...failureReasons])
      .nullable()
      .meta({
        description:
          'Why it was refused, or not reached; null where a connection came about, and for refusals of the first releases.',
      }),
    connections: count.meta({ description: 'How often; of a refused name, how often it was asked for.' }),
    bytesIn: count.meta({ description: 'Bytes that the build received.' }),
    bytesOut: count.meta({ description: 'Bytes that the build sent.' }),
  })
  .meta({
    id: 'EgressDestination',
    description:
      'One destination of a build: a host and a port with one outcome. An event tells of the first contact; its counts are those of that moment.',
  });
