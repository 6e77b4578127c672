import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import type { WatchBuildRequest, WatchBuildResponse } from './generated/kiln/v1/build_service.ts';
import type { Outgoing } from './handlers.ts';
import { toPart } from './messages.ts';

/** The WatchBuild call: log and events from the offsets of the request. */
export async function watchBuild(
  builds: Builds,
  call: Outgoing<WatchBuildResponse> & { readonly caller: Caller; readonly request: WatchBuildRequest },
): Promise<void> {
  const { caller, request, send, signal } = call;
  const { id, attempt, logOffset, eventOffset, follow } = request;
  const items = await builds.watch(caller, id, { attempt, logOffset, eventOffset, follow, signal });
  for await (const item of items) await send({ part: toPart(item) });
}
