import { z } from 'zod';
import { digest } from './schemas.ts';

export const catalogSchema = z
  .strictObject({
    entries: z.array(
      z
        .strictObject({
          entry: z.string().meta({ description: 'Such as buildkit-v0.20.2.' }),
          state: z.enum(['checked', 'unbuilt']).meta({ description: 'Whether it was built and tested.' }),
          derivedFrom: z.string().nullable().meta({
            description:
              'The entry whose ctr image it goes on from with a Dockerfile of its own (KILN_ENTRIES_DIR); null for one of the archive.',
          }),
          standard: z.boolean().meta({ description: 'Whether builds that ask for none run on it.' }),
          pins: z.record(z.string(), z.string()).meta({
            description: 'All that it is made of, by exact version and hash.',
          }),
          image: z
            .strictObject({ imageDigest: digest, versions: z.record(z.string(), z.string()) })
            .nullable()
            .meta({ description: 'Its VM image on this host; null where there is none, or a damaged one.' }),
        })
        .meta({ id: 'CatalogItem' }),
    ),
  })
  .meta({
    id: 'Catalog',
    description: 'The archive entries, oldest BuildKit first, then those that were derived from them.',
  });
