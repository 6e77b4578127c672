import { isIP } from 'node:net';
import { canonicalHost, parseHostPort } from './host-port.ts';

/** Beyond this a client has said its name, or never will. */
const maxHeadBytes = 16 * 1024 + 5;
/** In place of a name, or of none: it may still come. */
const more = Symbol('more');

/**
 * The name in the first bytes that a client sends: the server name of a TLS ClientHello, or the Host of an HTTP request. Given
 * each chunk as it goes by, which may hold any part of it; says the name once, whole, or never. Nobody has checked it.
 */
export class AnnouncedName {
  #head: Buffer | null = Buffer.alloc(0);

  see(chunk: Buffer): string | null {
    if (!this.#head) return null;
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, maxHeadBytes - this.#head.length)]);
    const found = this.#head[0] === 0x16 ? serverName(this.#head) : httpHost(this.#head);
    if (found !== more || this.#head.length >= maxHeadBytes) this.#head = null;
    return found === more ? null : found;
  }
}

function httpHost(head: Buffer): string | null | typeof more {
  const text = head.toString('latin1');
  if (!/^[A-Z]{0,16}( |$)/.test(text)) return null;
  const end = text.indexOf('\r\n\r\n');
  const headers = end < 0 ? text : text.slice(0, end + 2);
  // No blanks in the pattern: where they may belong to two parts of it, a guest can make it try every way to share them out.
  const value = /\r\n[Hh][Oo][Ss][Tt]:([^\r\n]*)\r\n/.exec(headers)?.[1]?.trim();
  if (value === undefined) return end < 0 ? more : null;
  return named(parseHostPort(value)?.host ?? canonicalHost(value));
}

/** Reads the first handshake record (RFC 8446 4.1.2, RFC 6066 3); one that is split over several records is left alone. */
function serverName(record: Buffer): string | null | typeof more {
  if (record.length < 5) return more;
  const length = record.readUInt16BE(3);
  if (record.length < 5 + length) return length > maxHeadBytes - 5 ? null : more;
  try {
    const body = new Cursor(record.subarray(5, 5 + length));
    if (body.number(1) !== 1) return null;
    const hello = new Cursor(body.block(3));
    hello.skip(2 + 32);
    hello.block(1);
    hello.block(2);
    hello.block(1);
    return named(findServerName(new Cursor(hello.block(2))));
  } catch {
    return null;
  }
}

function findServerName(extensions: Cursor): string | null {
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const content = extensions.block(2);
    if (type !== 0) continue;
    const list = new Cursor(new Cursor(content).block(2));
    return list.number(1) === 0 ? canonicalHost(list.block(2).toString('latin1')) : null;
  }
  return null;
}

function named(host: string | null): string | null {
  return host === null || isIP(host) !== 0 ? null : host;
}

/** Reads on in a buffer. @throws RangeError beyond its end */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  skip(count: number): void {
    if (count > this.left) throw new RangeError('The end comes too early.');
    this.#at += count;
  }

  number(width: number): number {
    const at = this.#at;
    this.skip(width);
    return this.#bytes.readUIntBE(at, width);
  }

  /** A block behind its own length, which takes `width` bytes. */
  block(width: number): Buffer {
    const length = this.number(width);
    const at = this.#at;
    this.skip(length);
    return this.#bytes.subarray(at, at + length);
  }
}
