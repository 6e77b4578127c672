import { printable } from '../lib/text.ts';
import type { Builds } from '../model/builds.ts';
import { downloadArtifact } from './artifact.ts';
import { runBuildCall } from './build.ts';
import type { BuildServiceServer } from './generated/kiln/v1/build_service.ts';
import { bidiStreaming, type HandlerContext, serverStreaming, unary } from './handlers.ts';
import { toBuildRecord } from './messages.ts';
import type { UploadLimits } from './upload.ts';
import { watchBuild } from './watch.ts';

/** kiln.v1.BuildService over the use-cases. */
export function createBuildService(
  builds: Builds,
  upload: UploadLimits,
  context: HandlerContext,
): BuildServiceServer {
  return {
    build: bidiStreaming(context, (requests, send, signal) =>
      runBuildCall({ requests, send, signal }, { builds, upload, logger: context.logger }),
    ),
    getBuild: unary(context, async ({ id }) => ({ build: toBuildRecord(await builds.get(id)) })),
    cancelBuild: unary(context, async ({ id, reason }) => ({
      build: toBuildRecord(await builds.cancel(id, printable(reason) || 'Cancelled by a caller.')),
    })),
    watchBuild: serverStreaming(context, (request, send, signal) =>
      watchBuild(builds, request, send, signal),
    ),
    downloadArtifact: serverStreaming(context, ({ id }, send, signal) =>
      downloadArtifact(builds, id, send, signal),
    ),
  };
}
