/** Tars made block by block, so that each field can be wrong. */
export type RawMember = {
  readonly name: string | Buffer;
  /** Type flag; a regular file by default. */
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly target?: string | Buffer;
  readonly prefix?: string;
  readonly magic?: string;
  /** Written as it is into the size field, in place of the content's length. */
  readonly size?: string | Buffer;
  readonly mode?: string;
  readonly mtime?: string;
  /** A last change, before the checksum is made. */
  readonly patch?: (block: Buffer) => void;
};

export const tarEnd = Buffer.alloc(1024);

/** The members and the two zero blocks. */
export function tar(...members: readonly (RawMember | Buffer)[]): Buffer {
  return Buffer.concat([
    ...members.map((member) => (Buffer.isBuffer(member) ? member : raw(member))),
    tarEnd,
  ]);
}

export function raw(member: RawMember): Buffer {
  const content = Buffer.from(member.content ?? '');
  const block = Buffer.alloc(512);
  put(block, 0, member.name);
  put(block, 100, member.mode ?? '0000644\0');
  put(block, 108, '0000000\0');
  put(block, 116, '0000000\0');
  put(block, 124, member.size ?? `${content.length.toString(8).padStart(11, '0')}\0`);
  put(block, 136, member.mtime ?? '14000000000\0');
  put(block, 156, member.type ?? '0');
  put(block, 157, member.target ?? '');
  put(block, 257, member.magic ?? 'ustar\x0000');
  put(block, 345, member.prefix ?? '');
  member.patch?.(block);
  return Buffer.concat([withChecksum(block), content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

export const file = (name: string | Buffer, content: string | Buffer = 'x'): RawMember => ({ name, content });
export const folder = (name: string): RawMember => ({ name, type: '5', mode: '0000755\0' });
export const symlink = (name: string, target: string): RawMember => ({ name, type: '2', target });
export const fifo = (name: string): RawMember => ({ name, type: '6' });
export const hardlink = (name: string, target: string): RawMember => ({ name, type: '1', target });

export function pax(records: Readonly<Record<string, string | Buffer>>, type = 'x'): Buffer {
  const content = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
  return raw({ name: 'PaxHeaders/x', type, content });
}

function paxRecord(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

/** GNU's `L` (name) or `K` (link target) before a member. */
export function gnuLong(type: 'L' | 'K', value: string | Buffer): Buffer {
  const content = Buffer.concat([Buffer.from(value), Buffer.alloc(1)]);
  return raw({ name: '././@LongLink', type, content, magic: 'ustar  \0' });
}

/** A file with one xattr, whose value has so many bytes. */
export function withXattr(name: string, bytes: number): Buffer {
  return Buffer.concat([pax({ 'SCHILY.xattr.user.big': 'v'.repeat(bytes) }), raw(file(name))]);
}

function withChecksum(block: Buffer): Buffer {
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function put(block: Buffer, at: number, value: string | Buffer): void {
  Buffer.from(value).copy(block, at);
}
