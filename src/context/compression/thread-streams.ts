import { RefusedData } from './thread-messages.ts';
import type { ThreadPort } from './thread-port.ts';

/** Decodes stream after stream for as long as the magic says that another one begins. @throws RefusedData, also beyond `maxStreams` */
export function decodeStreams(
  port: ThreadPort,
  { magic, maxStreams }: { magic: readonly number[]; maxStreams: number },
  decodeOne: () => void,
): void {
  for (let count = 1; ; count += 1) {
    decodeOne();
    const next = port.peekAtLeast(magic.length);
    if (!magic.every((byte, index) => next[index] === byte)) return;
    if (count === maxStreams) throw new RefusedData('streams', `more than ${maxStreams}`);
  }
}
