import { join } from 'node:path';
import { listArchive } from '../../src/catalog/catalog.ts';
import { openHostBuilder } from '../../src/images/host-builder.ts';
import { firstImageOf, type HostImageRequest, type ImageRequest } from '../../src/images/image-request.ts';

const catalog = await listArchive(join(import.meta.dirname, '../../images'));

/** A request for the first image of v0.20.2 by who is root, its caches and logs in `cacheDirectory`; with what a test has otherwise. */
export function imageRequest(
  given: Pick<HostImageRequest, 'cacheDirectory' | 'imagesDirectory'> & Partial<ImageRequest>,
): ImageRequest {
  const host: HostImageRequest = {
    ...{ sharedCacheDirectory: null, sealsDirectory: null, installation: '0123456789abcdef' },
    logDirectory: join(given.cacheDirectory, 'logs'),
    ...{ imagesDirectory: given.imagesDirectory, cacheDirectory: given.cacheDirectory, catalog },
    openBuilder: openHostBuilder,
    sources: 'packages',
    buildkitHost: undefined,
    asRoot: true,
    path: process.env['PATH'] ?? '',
    progress: () => undefined,
    signal: new AbortController().signal,
  };
  return { ...firstImageOf('buildkit-v0.20.2', host), ...given };
}
