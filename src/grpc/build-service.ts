import { printable } from '../lib/text.ts';
import type { Builds } from '../model/builds.ts';
import { downloadArtifact } from './artifact.ts';
import { runBuildCall } from './build.ts';
import type { BuildServiceServer } from './generated/kiln/v1/build_service.ts';
import { bidiStreaming, type HandlerContext, serverStreaming, unary } from './handlers.ts';
import { readListRequest, toListResponse } from './list.ts';
import { toMatrix } from './matrix-messages.ts';
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
    build: bidiStreaming(context, (caller, requests, outgoing) =>
      runBuildCall({ caller, requests, ...outgoing }, { builds, upload, logger: context.logger }),
    ),
    getBuild: unary(context, async (caller, { id }) => ({
      build: toBuildRecord(await builds.get(caller, id)),
    })),
    listBuilds: unary(context, async (caller, request) =>
      toListResponse(await builds.list(caller, readListRequest(request))),
    ),
    cancelBuild: unary(context, async (caller, { id, reason }) => ({
      build: toBuildRecord(await builds.cancel(caller, id, printable(reason) || 'Cancelled by a caller.')),
    })),
    getMatrix: unary(context, async (caller, { id }) => ({
      matrix: toMatrix(await builds.matrix(caller, id)),
    })),
    cancelMatrix: unary(context, async (caller, { id, reason }) => ({
      matrix: toMatrix(await builds.cancelMatrix(caller, id, printable(reason) || 'Cancelled by a caller.')),
    })),
    watchBuild: serverStreaming(context, (caller, request, outgoing) =>
      watchBuild(builds, { caller, request, ...outgoing }),
    ),
    downloadArtifact: serverStreaming(context, (caller, { id }, outgoing) =>
      downloadArtifact(builds, { caller, id, ...outgoing }),
    ),
  };
}
