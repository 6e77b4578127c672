import Bunzip from 'seek-bzip';
import { RefusedData } from './thread-messages.ts';
import type { ThreadPort } from './thread-port.ts';
import { decodeStreams } from './thread-streams.ts';

const magic = [...Buffer.from('BZh')];

/** All streams that stand at the beginning of the input: pbzip2 makes one of each block. @throws RefusedData */
export function decodeBzip2(port: ThreadPort, maxStreams: number): void {
  const output = { writeByte: (byte: number) => port.writeByte(byte) };
  decodeStreams(port, { magic, maxStreams }, () => {
    const input = new ByteInput(port);
    try {
      Bunzip.decode(input, output);
    } catch (error) {
      // What damaged data makes of its tables it finds out as it uses them.
      const isItsOwn = error instanceof TypeError || error instanceof RangeError;
      throw isItsOwn ? new RefusedData('damaged', error.message) : error;
    }
    input.release();
  });
}

/** What the decoder reads from. It must not be told of an end: it would go on, with bytes of its own. */
class ByteInput {
  readonly #port: ThreadPort;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(port: ThreadPort) {
    this.#port = port;
  }

  /** @throws RefusedData at the end */
  readByte(): number {
    if (this.#at === this.#bytes.length) {
      this.release();
      this.#bytes = this.#port.peek();
    }
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new RefusedData('truncated', 'the input ends');
    this.#at += 1;
    return byte;
  }

  read(buffer: Uint8Array, offset: number, length: number): number {
    for (let index = 0; index < length; index += 1) buffer[offset + index] = this.readByte();
    return length;
  }

  /** Takes what was read; the rest is for others. */
  release(): void {
    this.#port.take(this.#at);
    this.#bytes = new Uint8Array(0);
    this.#at = 0;
  }
}
