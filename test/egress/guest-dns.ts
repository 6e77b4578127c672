import type { Duplex } from 'node:stream';
import { type DecodedPacket, decode, encode, type Packet } from 'dns-packet';

/** What a guest's relay does with questions: frames on one stream, answers told apart by their number. */
export class GuestDns {
  readonly #stream: Duplex;
  readonly #waiting = new Map<number, (message: Buffer) => void>();
  #next = 1;
  #rest = Buffer.alloc(0);

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.write('dns\n');
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Sends any bytes as a question; resolves with the bytes of the answer. */
  send(message: Buffer, transport = 'u'): Promise<Buffer> {
    const number = this.#next++;
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.#waiting.set(number, resolve);
    this.#stream.write(frame(number, transport, message));
    return promise;
  }

  async ask(name: string, type = 'A', more: Packet & { transport?: 'u' | 't' } = {}): Promise<DecodedPacket> {
    const { transport = 'u', ...packet } = more;
    const questions = [{ name, type: type as 'A' }];
    return decode(
      await this.send(encode({ type: 'query', id: 77, flags: 0x100, questions, ...packet }), transport),
    );
  }

  /** The address that stands for a name; the code of the answer where there is none. */
  async addressOf(name: string): Promise<string> {
    const packet = await this.ask(name);
    const [answer] = packet.answers ?? [];
    return answer?.type === 'A' ? answer.data : codeOf(packet);
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 7 && this.#rest.length >= 7 + this.#rest.readUInt16BE(5)) {
      const end = 7 + this.#rest.readUInt16BE(5);
      this.#waiting.get(this.#rest.readUInt32BE(0))?.(this.#rest.subarray(7, end));
      this.#rest = this.#rest.subarray(end);
    }
  }
}

export function frame(number: number, transport: string, message: Buffer): Buffer {
  const header = Buffer.alloc(7);
  header.writeUInt32BE(number);
  header.write(transport, 4, 'latin1');
  header.writeUInt16BE(message.length, 5);
  return Buffer.concat([header, message]);
}

/** The code of an answer; dns-packet's types leave it out. */
export function codeOf(packet: DecodedPacket): string {
  return (packet as DecodedPacket & { rcode: string }).rcode;
}
