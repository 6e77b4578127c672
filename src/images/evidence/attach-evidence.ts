import { join } from 'node:path';
import { envelopeMediaType, inTotoPayloadType } from '../../evidence/dsse.ts';
import { provenanceName, sbomName } from '../../evidence/verify-evidence.ts';
import type { Registry } from '../../registry/registry.ts';
import type { PublishedImage } from '../publish/publish-images.ts';

const kinds = [
  { title: sbomName, artifactType: 'application/spdx+json', mediaType: 'application/spdx+json' },
  { title: provenanceName, artifactType: inTotoPayloadType, mediaType: envelopeMediaType },
];

/**
 * Attaches the evidence of a folder to published images, as referrers of each. What is attached already stays, once.
 * @param evidence.created RFC 3339, the same in each try.
 * @throws what `Registry.attach` throws
 */
export async function attachEvidence(
  images: readonly Pick<PublishedImage, 'digest' | 'reference'>[],
  { directory, created }: { directory: string; created: string },
  { registry, say, signal }: { registry: Registry; say: (line: string) => void; signal: AbortSignal },
): Promise<void> {
  for (const { digest, reference } of images) {
    for (const kind of kinds) {
      await registry.attach(digest, { ...kind, file: join(directory, kind.title), created }, signal);
      say(`${kind.title} is attached to ${reference}`);
    }
  }
}
