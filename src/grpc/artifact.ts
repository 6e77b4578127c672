import { open } from 'node:fs/promises';
import type { Builds } from '../model/builds.ts';
import { orGone } from '../model/gone.ts';
import type { DownloadArtifactResponse } from './generated/kiln/v1/build_service.ts';
import { toArtifact } from './messages.ts';
import type { Send } from './send.ts';

const chunkBytes = 256 * 1024;

/** The DownloadArtifact call: what the artifact is, then its bytes. */
export async function downloadArtifact(
  builds: Builds,
  id: string,
  send: Send<DownloadArtifactResponse>,
  signal: AbortSignal,
): Promise<void> {
  const { artifact, path } = await builds.artifact(id);
  // Before anything is sent: it may have been removed meanwhile.
  await using handle = await orGone(id, open(path, 'r'));
  await send({ part: { $case: 'artifact', value: toArtifact(artifact) } });
  const file: AsyncIterable<Buffer> = handle.createReadStream({
    ...{ highWaterMark: chunkBytes, signal, autoClose: false },
  });
  for await (const chunk of file) await send({ part: { $case: 'chunk', value: chunk } });
}
