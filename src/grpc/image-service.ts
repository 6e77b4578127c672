import { printable } from '../lib/text.ts';
import type { Builds } from '../model/builds.ts';
import { type RebuildRequest, rebuildSchema } from '../model/operation.ts';
import type { Operations } from '../model/operations.ts';
import { parseRequest } from '../model/parse-request.ts';
import { recordOf } from '../model/spec.ts';
import type { ImageServiceServer, RebuildImageRequest } from './generated/kiln/v1/image_service.ts';
import { type HandlerContext, serverStreaming, unary } from './handlers.ts';
import { toPart } from './messages.ts';
import { toCatalogEntry, toOperation } from './operation-messages.ts';

/** kiln.v1.ImageService over the use-cases. */
export function createImageService(
  { builds, operations }: { builds: Pick<Builds, 'catalog'>; operations: Operations },
  context: HandlerContext,
): ImageServiceServer {
  return {
    listEntries: unary(context, async (caller) => ({
      entries: (await builds.catalog(caller)).map(toCatalogEntry),
    })),
    rebuildImage: serverStreaming(context, async (caller, request, { send, signal }) => {
      const operation = await operations.rebuild(caller, toRebuild(request));
      await send({ part: { $case: 'accepted', value: toOperation(operation) } });
      const range = { logOffset: 0, eventOffset: 0, follow: true, signal };
      for await (const item of await operations.watch(caller, operation.id, range))
        await send({ part: toPart(item) });
    }),
    rollBackImage: unary(context, async (caller, { entry }) => {
      const { version, ...served } = await operations.rollBack(caller, entry);
      return { ...served, version: version ?? undefined };
    }),
    pruneImages: unary(context, async (caller, { dryRun }) => ({
      images: [...(await operations.prune(caller, { dryRun }))],
    })),
    listOperations: unary(context, async (caller) => ({
      operations: (await operations.list(caller)).map(toOperation),
    })),
    getOperation: unary(context, async (caller, { id }) => ({
      operation: toOperation(await operations.get(caller, id)),
    })),
    cancelOperation: unary(context, async (caller, { id, reason }) => ({
      operation: toOperation(
        await operations.cancel(caller, id, printable(reason) || 'Cancelled by a caller.'),
      ),
    })),
    resumeOperation: unary(context, async (caller, { id }) => ({
      operation: toOperation(await operations.resume(caller, id)),
    })),
    watchOperation: serverStreaming(context, async (caller, { id, ...range }, { send, signal }) => {
      const { logOffset, eventOffset, follow } = range;
      const items = await operations.watch(caller, id, { logOffset, eventOffset, follow, signal });
      for await (const item of items) await send({ part: toPart(item) });
    }),
  };
}

function toRebuild({ version, targets, repo, args, ...asked }: RebuildImageRequest): RebuildRequest {
  return parseRequest(rebuildSchema, {
    ...asked,
    args: recordOf(
      'args',
      args.map(({ name, value }) => [name, value] as const),
    ),
    ...(version !== undefined && { version }),
    ...(targets.length > 0 && { targets }),
    ...(repo !== undefined && { repo }),
  });
}
