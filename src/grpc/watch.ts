import type { Builds } from '../model/builds.ts';
import type { WatchBuildRequest, WatchBuildResponse } from './generated/kiln/v1/build_service.ts';
import { toPart } from './messages.ts';
import type { Send } from './send.ts';

/** The WatchBuild call: log and events from the offsets of the request. */
export async function watchBuild(
  builds: Builds,
  request: WatchBuildRequest,
  send: Send<WatchBuildResponse>,
  signal: AbortSignal,
): Promise<void> {
  const { id, logOffset, eventOffset, follow } = request;
  const items = await builds.watch(id, { logOffset, eventOffset, follow, signal });
  for await (const item of items) await send({ part: toPart(item) });
}
