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

export function pax(
  records: Readonly<Record<string, string | Buffer>> | readonly (readonly [string, string])[],
  type = 'x',
): Buffer {
  const entries = Array.isArray(records) ? records : Object.entries(records);
  const content = Buffer.concat(entries.map(([key, value]) => paxRecord(key, value)));
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

/** A sparse file in GNU's oldest form: four parts in its header, then blocks of 21. */
export function oldSparse(
  name: string,
  { realSize, map, data }: { realSize: number; map: readonly number[]; data: string },
  patch?: (block: Buffer) => void,
): Buffer {
  const entries = Array.from({ length: map.length / 2 }, (_, index) =>
    Buffer.concat([octal12(map[2 * index]), octal12(map[2 * index + 1])]),
  );
  const header = raw({
    ...{ name, type: 'S', magic: 'ustar  \0', size: octal12(data.length) },
    patch(block) {
      Buffer.concat(entries.slice(0, 4)).copy(block, 386);
      block[482] = entries.length > 4 ? 1 : 0;
      octal12(realSize).copy(block, 483);
      patch?.(block);
    },
  });
  const blocks: Buffer[] = [];
  for (let at = 4; at < entries.length; at += 21) {
    const block = Buffer.alloc(512);
    Buffer.concat(entries.slice(at, at + 21)).copy(block);
    block[504] = at + 21 < entries.length ? 1 : 0;
    blocks.push(block);
  }
  return Buffer.concat([
    header,
    ...blocks,
    Buffer.from(data),
    Buffer.alloc((512 - (data.length % 512)) % 512),
  ]);
}

function octal12(value = 0): Buffer {
  return Buffer.from(`${value.toString(8).padStart(11, '0')}\0`);
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
