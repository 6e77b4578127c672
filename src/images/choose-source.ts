import type { ImageBuilder } from './image-builder.ts';
import type { ImageRequest, ImageSource } from './image-request.ts';

/** Asks the builder itself, with its own mirrors and proxies, whether the base can be had. */
export async function chooseSource(
  { sources, progress }: ImageRequest,
  base: string,
  builder: Pick<ImageBuilder, 'lookUp'>,
): Promise<ImageSource> {
  if (sources !== 'auto') return sources;
  const why = await builder.lookUp(base);
  progress(`source  ${why === null ? base : `Debian packages, as no container registry answers (${why})`}`);
  return why === null ? 'registry' : 'packages';
}
