import { open } from 'node:fs/promises';
import type { Builds } from '../model/builds.ts';
import type { Caller } from '../model/caller.ts';
import { orGone } from '../model/gone.ts';
import type { DownloadArtifactResponse } from './generated/kiln/v1/build_service.ts';
import type { Outgoing } from './handlers.ts';
import { toArtifact } from './messages.ts';

const chunkBytes = 256 * 1024;

/** The DownloadArtifact call: what the artifact is, then its bytes. */
export async function downloadArtifact(
  builds: Builds,
  call: Outgoing<DownloadArtifactResponse> & { readonly caller: Caller; readonly id: string },
): Promise<void> {
  const { caller, id, send, signal } = call;
  const { artifact, path } = await builds.artifact(caller, id);
  // Before anything is sent: it may have been removed meanwhile.
  await using handle = await orGone(id, open(path, 'r'));
  await send({ part: { $case: 'artifact', value: toArtifact(artifact) } });
  const file: AsyncIterable<Buffer> = handle.createReadStream({
    ...{ highWaterMark: chunkBytes, signal, autoClose: false },
  });
  for await (const chunk of file) await send({ part: { $case: 'chunk', value: chunk } });
}
