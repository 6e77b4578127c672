import assert from 'node:assert/strict';
import { join } from 'node:path';
import { capabilitiesOf } from '../../src/catalog/capabilities.ts';
import { listArchive } from '../../src/catalog/catalog.ts';
import { Fleet } from '../../src/fleet/fleet.ts';
import { createMemoryLogger } from '../builds/memory-logger.ts';
import { noImage } from '../images/no-image.ts';
import { queuedRecord } from '../store/harness.ts';

/** What the BuildKit of the standard entry can do. */
export const capabilities = capabilitiesOf([0, 20, 2]);

/** The real catalog; of the entry that records of tests have, and of others, there is an image, which only has a name. */
export async function fleetOfOne(...others: readonly string[]): Promise<Fleet> {
  const { name, imageDigest, versions } = queuedRecord().entry;
  const imageOf = (entry: string) => ({ ...noImage(entry), digest: imageDigest, versions });
  return new Fleet({
    catalog: await listArchive(join(import.meta.dirname, '../../images')),
    standard: name,
    images: new Map([name, ...others].map((entry) => [entry, async () => imageOf(entry)])),
    openTemplates: () => assert.fail('no template is asked for'),
    keepTemplates: () => assert.fail('none is made'),
    logger: createMemoryLogger(),
    signal: new AbortController().signal,
  });
}
