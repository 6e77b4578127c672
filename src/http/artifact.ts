import type { Response } from 'express';
import { asGone } from '../model/gone.ts';
import { idOf } from './id-of.ts';
import type { RecordEdge } from './records.ts';
import type { CallerHandler } from './with-caller.ts';

/** The file a build kept: whole or a range of it, named by its digest. */
export function getArtifact({ builds, settings }: RecordEdge): CallerHandler {
  return async (caller, request, response, next) => {
    const id = idOf(request);
    const { artifact, path } = await builds.artifact(caller, id);
    response.setTimeout(settings.readerStallMs, () => response.destroy());
    response.set({
      'Content-Type': 'application/x-tar',
      'Content-Disposition': `attachment; filename="${id}.${artifact.format}.tar"`,
      'Cache-Control': 'private, max-age=31536000, immutable',
      ETag: `"${artifact.digest}"`,
    });
    // Express would refuse a path with a folder whose name begins with a dot; this path is ours.
    const options = { dotfiles: 'allow', etag: false, lastModified: false, cacheControl: false } as const;
    response.sendFile(path, options, (error: unknown) => {
      // As Express has it without a function: a client that left is no error.
      if (!error || isOfClient(error)) return;
      if (!response.headersSent) describeNothing(response);
      next(asGone(id, error));
    });
  };
}

function isOfClient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    ('code' in error && error.code === 'ECONNABORTED') || ('syscall' in error && error.syscall === 'write')
  );
}

/** What was said of the file is not true of an error, and nobody may keep that. */
function describeNothing(response: Response): void {
  for (const name of ['ETag', 'Content-Disposition', 'Content-Length', 'Accept-Ranges'])
    response.removeHeader(name);
  response.set('Cache-Control', 'no-store');
}
