import type { ImageBuilder } from './image-builder.ts';
import type { ImageRequest } from './image-request.ts';
import { requireDigest } from './looked-up.ts';

/** Where a base comes from: of one in a registry, with the digest that it has there now. */
export type ChosenSource =
  | { readonly source: 'registry'; readonly digest: string }
  | { readonly source: 'packages' };

/**
 * Asks the builder itself, with its own mirrors and proxies, whether the base can be had.
 * @throws KilnError INFRA where only a registry may be the source, and the base is not there
 */
export async function chooseSource(
  { sources, progress }: ImageRequest,
  base: string,
  builder: Pick<ImageBuilder, 'lookUp'>,
): Promise<ChosenSource> {
  if (sources === 'packages') return { source: sources };
  const lookedUp = await builder.lookUp(base);
  if (sources === 'auto' && 'why' in lookedUp) {
    progress(`source  Debian packages, as no container registry answers (${lookedUp.why})`);
    return { source: 'packages' };
  }
  const digest = requireDigest(base, lookedUp);
  progress(`source  ${base}, ${digest}`);
  return { source: 'registry', digest };
}
