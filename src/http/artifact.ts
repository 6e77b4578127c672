import type { RequestHandler } from 'express';
import { idOf, type RecordEdge } from './records.ts';

/** The file a build kept: whole or a range of it, named by its digest. */
export function getArtifact({ builds, settings }: RecordEdge): RequestHandler {
  return async (request, response) => {
    const id = idOf(request);
    const { artifact, path } = await builds.artifact(id);
    response.setTimeout(settings.readerStallMs, () => response.destroy());
    response.set({
      'Content-Type': 'application/x-tar',
      'Content-Disposition': `attachment; filename="${id}.${artifact.format}.tar"`,
      'Cache-Control': 'private, max-age=31536000, immutable',
      ETag: `"${artifact.digest}"`,
    });
    // Express would refuse a path with a folder whose name begins with a dot; this path is ours.
    response.sendFile(path, { dotfiles: 'allow', etag: false, lastModified: false, cacheControl: false });
  };
}
