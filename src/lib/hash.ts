import { open } from 'node:fs/promises';
import { ThreadHash } from './thread-hash.ts';

/** Large enough that the way to the thread is no matter, small enough that an upload it hashes meanwhile waits a millisecond or two. */
const blockBytes = 1024 * 1024;

/** sha256 of a file's bytes, as lower-case hex; flat in memory. Made by a thread, so that gigabytes hold up nobody. @throws the signal's reason */
export async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  await using file = await open(path, 'r');
  using hash = new ThreadHash();
  let [block, other] = [allocateShared(), allocateShared()];
  let hashed: Promise<unknown> = Promise.resolve();
  for (;;) {
    signal.throwIfAborted();
    // While the other block is hashed.
    const { bytesRead } = await file.read(block, 0, blockBytes, null);
    await hashed;
    if (bytesRead === 0) return await hash.digest();
    hashed = hash.update(block.subarray(0, bytesRead));
    hashed.catch(() => undefined);
    [block, other] = [other, block];
  }
}

/** What the thread needs no copy of. */
function allocateShared(): Buffer {
  return Buffer.from(new SharedArrayBuffer(blockBytes));
}
