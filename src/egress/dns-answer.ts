import { isIP } from 'node:net';
import { type Answer, type DecodedPacket, decode, encode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet';
import type { Transport } from './dns-stream.ts';
import { canonicalHost } from './host-port.ts';

/** What a name comes to: the address that stands for it, or why there is none. */
export type NameAnswer =
  | { readonly address: string }
  /** There is the name, but no address of it. */
  | 'no-address'
  | 'no-name'
  | 'not-known-now';

export type Names = {
  /** Never rejects. */
  readonly lookup: (name: string) => Promise<NameAnswer>;
  /** The name that an address stands for. */
  readonly nameOf: (address: string) => string | null;
};

const headerBytes = 12;
/** A question has one name and some options. */
const maxQuestionBytes = 4096;
const smallestLimit = 512;
const largestLimit = 65_535;
/** Seconds. */
const ttl = 60;
const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 };
type Rcode = keyof typeof rcodes;

/** What is said of a question: a code, and records where there are some. */
type Reply = { readonly rcode: Rcode; readonly answers?: Answer[] };

/** Types whose answer would lead around kiln: real addresses of IPv6, and hints of real addresses (HTTPS, SVCB). */
const withheldTypes = new Set<string>(['AAAA', 'UNKNOWN_64', 'UNKNOWN_65', 'SVCB', 'HTTPS']);

/** Answers one DNS message (RFC 1035) of a guest, which may hold anything. Null where it is no question. Never rejects. */
export async function answerDns(message: Buffer, transport: Transport, names: Names): Promise<Buffer | null> {
  if (message.length < headerBytes || (message.readUInt8(2) & 0x80) !== 0) return null;
  const query = parseQuery(message);
  if (!query) return formatError(message, 'FORMERR');
  const { rcode, answers = [] } = await reply(query, names);
  const limit = transport === 't' ? largestLimit : udpLimit(query);
  const whole = formatAnswer(query, rcode, answers);
  if (whole.length <= limit) return whole;
  return formatAnswer(query, rcode, [], TRUNCATED_RESPONSE);
}

async function reply(query: DecodedPacket, names: Names): Promise<Reply> {
  const [question] = query.questions ?? [];
  if (!isQuery(query) || question?.class !== 'IN') return { rcode: 'NOTIMP' };
  const type: string = question.type;
  if (type === 'PTR') return pointer(question.name, names);
  const host = canonicalHost(question.name);
  if (type !== 'A' && !withheldTypes.has(type)) return { rcode: 'NOTIMP' };
  if (host === null) return { rcode: 'FORMERR' };
  // Numbers are no name, and what asks for one meant the address.
  if (isIP(host) !== 0) return { rcode: 'NXDOMAIN' };
  if (type !== 'A') return { rcode: 'NOERROR' };
  const found = await names.lookup(host);
  switch (found) {
    case 'no-address':
      return { rcode: 'NOERROR' };
    case 'no-name':
      return { rcode: 'NXDOMAIN' };
    case 'not-known-now':
      return { rcode: 'SERVFAIL' };
    default:
      return { rcode: 'NOERROR', answers: [{ type: 'A', name: question.name, ttl, data: found.address }] };
  }
}

/** Opcode 0; the others (notify, update) are no questions. */
function isQuery({ flags = 0 }: DecodedPacket): boolean {
  return (flags & 0x7800) === 0;
}

/** Of the addresses that stand for names; others are nobody's business outside. */
function pointer(name: string, names: Names): Reply {
  const [, reversed] = /^((?:\d{1,3}\.){4})in-addr\.arpa$/i.exec(name) ?? [];
  const address = reversed?.split('.').slice(0, 4).reverse().join('.') ?? '';
  const known = names.nameOf(address);
  if (known === null) return { rcode: 'NXDOMAIN' };
  return { rcode: 'NOERROR', answers: [{ type: 'PTR', name, ttl, data: known }] };
}

/** Null for what cannot be read, or not be said again as it was: labels with dots in them, or of other bytes than ASCII. */
function parseQuery(message: Buffer): DecodedPacket | null {
  if (message.length > maxQuestionBytes || message.readUInt16BE(4) !== 1) return null;
  try {
    const query = decode(message);
    const asked = encode({ questions: query.questions ?? [] }).subarray(headerBytes);
    return asked.equals(message.subarray(headerBytes, headerBytes + asked.length)) ? query : null;
  } catch {
    return null;
  }
}

function udpLimit({ additionals = [] }: DecodedPacket): number {
  const options = additionals.find(({ type }) => type === 'OPT');
  const size = options?.type === 'OPT' ? options.udpPayloadSize : smallestLimit;
  return Math.max(smallestLimit, Math.min(size, largestLimit));
}

function formatAnswer(query: DecodedPacket, rcode: Rcode, answers: Answer[], flags = 0): Buffer {
  const speaksEdns = (query.additionals ?? []).some(({ type }) => type === 'OPT');
  const options: Answer[] = speaksEdns
    ? [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: largestLimit,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ]
    : [];
  const packet: Packet = {
    id: query.id ?? 0,
    type: 'response',
    questions: query.questions ?? [],
    answers,
    additionals: options,
  };
  return withFlags(encode(packet), query.flag_rd, rcode, flags);
}

/** The header alone: the rest of the question made no sense. */
function formatError(message: Buffer, rcode: Rcode): Buffer {
  const packet = encode({ id: message.readUInt16BE(0), type: 'response' });
  return withFlags(packet, (message.readUInt8(2) & 1) === 1, rcode);
}

/** Response, recursion available, and what is given. */
function withFlags(packet: Buffer, recursionDesired: boolean, rcode: Rcode, flags = 0): Buffer {
  packet.writeUInt16BE(0x8080 | (recursionDesired ? 0x0100 : 0) | flags | rcodes[rcode], 2);
  return packet;
}
