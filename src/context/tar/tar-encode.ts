import { blockBytes } from './tar-header.ts';

/** One member of a tar that is made here; `name` and `target` are valid UTF-8. */
export type NewTarMember = {
  readonly name: Buffer;
  readonly type: 'file' | 'directory' | 'symlink' | 'special';
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly target: Buffer;
};

/** Of what is left out only its name counts: all of it is a FIFO. */
const typeFlags = { file: '0', directory: '5', symlink: '2', special: '6' } as const;
const maxFieldBytes = 100;

/**
 * The header blocks of a member: ustar, after a PAX header where a name does not fit. tar-stream's `pack` is no help here:
 * it takes members without content as fast as they come and keeps them all in memory.
 */
export function encodeTarHeader(member: NewTarMember): Buffer {
  const { name, target } = member;
  const records = Buffer.concat([
    ...(name.length > maxFieldBytes ? [paxRecord('path', name)] : []),
    ...(target.length > maxFieldBytes ? [paxRecord('linkpath', target)] : []),
  ]);
  if (records.length === 0) return headerBlock(member, typeFlags[member.type]);
  const extension = { ...member, name: Buffer.from('pax'), target: Buffer.alloc(0), size: records.length };
  return Buffer.concat([
    headerBlock(extension, 'x'),
    records,
    tarPadding(records.length),
    headerBlock(member, typeFlags[member.type]),
  ]);
}

/** Zeros that fill the last block of a content of `size` bytes. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes);
}

export const tarEnd = Buffer.alloc(2 * blockBytes);

function headerBlock({ name, mode, size, mtime, target }: NewTarMember, flag: string): Buffer {
  const block = Buffer.alloc(blockBytes);
  name.copy(block, 0, 0, maxFieldBytes);
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108);
  block.write(octal(0, 7), 116);
  block.write(octal(size, 11), 124);
  block.write(octal(mtime, 11), 136);
  block.fill(' ', 148, 156);
  block.write(flag, 156);
  target.copy(block, 157, 0, maxFieldBytes);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  const digits = String(rest + String(rest).length).length;
  return Buffer.concat([Buffer.from(`${rest + digits} ${key}=`), value, Buffer.from('\n')]);
}
