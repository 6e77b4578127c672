import { crc32, inflateRawSync } from 'node:zlib';
import type { Inflated } from './inflate.ts';

/** What `inflateRawSync` gives when it is asked how far it came, which its types do not know. */
type WithInfo = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };

/**
 * Inflates raw deflate data that is all there, at once: for a small file that is done before a stream would have been made.
 * @throws what zlib says of data that is damaged or cut off
 */
export function inflateWhole(bytes: Buffer, maxBytes: number): { data: Buffer; inflated: Inflated } {
  try {
    const options = { info: true, maxOutputLength: maxBytes + 1, chunkSize: Math.max(64, maxBytes + 1) };
    const { buffer: data, engine } = inflateRawSync(bytes, options) as unknown as WithInfo;
    const rest = bytes.subarray(engine.bytesWritten);
    return { data, inflated: { crc32: crc32(data), length: data.length, rest } };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const none = Buffer.alloc(0);
    return { data: none, inflated: { crc32: 0, length: maxBytes + 1, rest: none } };
  }
}
