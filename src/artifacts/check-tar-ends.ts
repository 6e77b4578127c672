import type { FileHandle } from 'node:fs/promises';
import { KilnError } from '../model/error.ts';

const blockBytes = 512;
/** Two zero blocks end every tar; an empty one is nothing else. */
const endBytes = 2 * blockBytes;
const checksumField = { start: 148, end: 156 };

/**
 * Checks cheaply, without unpacking, that the first `bytes` of a file are a whole tar: whole blocks, a sound header first,
 * two zero blocks last. What lies between is not looked at: the client reads it.
 * @throws KilnError ARTIFACT_INVALID
 */
export async function checkTarEnds(handle: FileHandle, bytes: number): Promise<void> {
  const { size } = await handle.stat();
  if (bytes < endBytes || bytes > size || bytes % blockBytes !== 0) {
    throw invalid(`${bytes} bytes, on a disk of ${size}, are no whole tar`);
  }
  const last = await readAt(handle, bytes - endBytes, endBytes);
  if (!isZero(last)) throw invalid('its end is missing');
  const first = await readAt(handle, 0, blockBytes);
  if (bytes > endBytes && !isHeader(first)) throw invalid('it does not start with a tar header');
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, position);
  return buffer;
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

function isHeader(block: Buffer): boolean {
  const { start, end } = checksumField;
  const claimed = Number.parseInt(block.toString('latin1', start, end).replace(/[\0 ]+$/, ''), 8);
  // The checksum is made with spaces in its own place.
  const sum = block.reduce((total, byte, index) => total + (index >= start && index < end ? 32 : byte), 0);
  return block.toString('latin1', 257, 262) === 'ustar' && claimed === sum;
}

function invalid(why: string): KilnError {
  return new KilnError('ARTIFACT_INVALID', `What the build put out is not a complete tar: ${why}.`);
}
