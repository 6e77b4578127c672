import { createReadStream } from 'node:fs';
import type { Builds } from '../model/builds.ts';
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
  await send({ part: { $case: 'artifact', value: toArtifact(artifact) } });
  const file: AsyncIterable<Buffer> = createReadStream(path, { highWaterMark: chunkBytes, signal });
  for await (const chunk of file) await send({ part: { $case: 'chunk', value: chunk } });
}
