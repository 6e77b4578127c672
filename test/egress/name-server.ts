import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type Answer, decode, encode, TRUNCATED_RESPONSE } from 'dns-packet';

/** What a name has; `chain`: how many other names stand before its addresses. */
export type Records = Readonly<
  Record<
    string,
    { readonly A?: readonly string[]; readonly AAAA?: readonly string[]; readonly chain?: number } | 'silence'
  >
>;

const largestUdp = 512;
const flags = 0x0180;
const nameError = 3;

/** A name server on loopback, over UDP and TCP; on a free port, where none is asked for. */
export async function startNameServer(
  records: Records,
  on: { readonly host: string; readonly port: number } = { host: '127.0.0.1', port: 0 },
): Promise<AsyncDisposable & { readonly address: string }> {
  const tcp = createServer((socket) => {
    let seen = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      while (seen.length >= 2 && seen.length >= 2 + seen.readUInt16BE(0)) {
        const end = 2 + seen.readUInt16BE(0);
        const answer = answerTo(seen.subarray(2, end), records);
        if (answer) {
          const length = Buffer.alloc(2);
          length.writeUInt16BE(answer.length);
          socket.write(Buffer.concat([length, answer]));
        }
        seen = seen.subarray(end);
      }
    });
  });
  tcp.listen(on);
  await once(tcp, 'listening');
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    const answer = answerTo(query, records);
    if (!answer) return;
    const cut = answer.length > largestUdp ? truncated(query) : answer;
    udp.send(cut, from.port, from.address);
  });
  udp.bind(port, on.host);
  await once(udp, 'listening');
  return {
    address: `${on.host}:${port}`,
    async [Symbol.asyncDispose]() {
      udp.close();
      tcp.close();
      await once(udp, 'close');
    },
  };
}

function answerTo(message: Buffer, records: Records): Buffer | null {
  const { id = 0, questions = [] } = decode(message);
  const [question] = questions;
  const name = question?.name.toLowerCase() ?? '';
  const known = records[name];
  if (known === 'silence') return null;
  if (!known) return encode({ id, type: 'response', flags: flags | nameError, questions });
  const { chain = 0 } = known;
  const hop = (at: number): string => (at === 0 ? name : `hop-${at}.${name}`);
  const hops = Array.from({ length: chain }, (_, at): Answer => {
    return { type: 'CNAME', name: hop(at), ttl: 1, data: hop(at + 1) };
  });
  const type = question?.type === 'AAAA' ? 'AAAA' : 'A';
  const addresses = (known[type] ?? []).map((data): Answer => ({ type, name: hop(chain), ttl: 1, data }));
  return encode({ id, type: 'response', flags, questions, answers: [...hops, ...addresses] });
}

function truncated(message: Buffer): Buffer {
  const { id = 0, questions = [] } = decode(message);
  return encode({ id, type: 'response', flags: flags | TRUNCATED_RESPONSE, questions });
}
