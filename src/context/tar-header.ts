import { KilnError } from '../model/error.ts';
import { refuse } from './entry-rules.ts';

export const blockBytes = 512;

/** One header block of a tar, as its bytes say: nothing of PAX or GNU extensions is applied yet. */
export type TarHeader = {
  readonly name: Buffer;
  readonly size: number;
  /** The type flag as a character. */
  readonly type: string;
  readonly linkName: Buffer;
};

/** Numbers that do not matter here, but that some readers stop at when they are none: mode, uid, gid, mtime. */
const otherNumbers = [
  [100, 108],
  [108, 116],
  [116, 124],
  [136, 148],
] as const;

/**
 * Reads the fields that decide how an archive is read. POSIX ustar, GNU and the old v7 form; anything that two readers
 * could take differently is refused. Layout: POSIX.1-2017 pax, "ustar Interchange Format".
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS, ENTRY_NAME
 */
export function parseTarHeader(block: Buffer): TarHeader {
  if (sumOf(block) !== storedSum(block)) throw corrupt('has a header whose checksum is wrong');
  const name = withPrefix(block, readName(block.subarray(0, 100)));
  const flag = block[156] ?? 0;
  if (!otherNumbers.every(([start, end]) => isNumber(block.subarray(start, end))))
    throw corrupt('has a header with a field that is no number');
  return {
    name,
    size: parseSize(block.subarray(124, 136)),
    type: String.fromCharCode(flag),
    linkName: readName(block.subarray(157, 257)),
  };
}

/** The end of a header belongs to each form in its own way; readers that mistake the form must find nothing there. */
function withPrefix(block: Buffer, name: Buffer): Buffer {
  const magic = block.toString('latin1', 257, 265);
  if (magic === 'ustar\x0000') {
    if (!isZero(block.subarray(500))) throw ambiguous(name, 'has a header of the form of star');
    const prefix = readName(block.subarray(345, 500));
    return prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name;
  }
  if (magic !== 'ustar  \0' && magic !== '\0'.repeat(8)) throw corrupt('has a header of an unknown kind');
  // Type S keeps the map of its holes there, and is refused for what it is.
  if (block[156] !== 0x53 && !isZero(block.subarray(345)))
    throw ambiguous(name, 'has a header with times of access, as incremental backups have');
  return name;
}

const zeroBlock = Buffer.alloc(blockBytes);

export function isZero(bytes: Buffer): boolean {
  return bytes.length === blockBytes ? bytes.equals(zeroBlock) : bytes.every((byte) => byte === 0);
}

/** Whether the block could be the first of a tar; used to tell formats apart, so that the error is about the format. */
export function looksLikeTar(block: Buffer): boolean {
  return block.toString('latin1', 257, 262) === 'ustar' || isZero(block) || sumOf(block) === storedSum(block);
}

function storedSum(block: Buffer): number {
  return parseOctal(block.subarray(148, 156)) ?? -1;
}

/** Sum of all bytes, those of the checksum itself taken as spaces. */
function sumOf(block: Buffer): number {
  let sum = 8 * 32;
  for (let index = 0; index < blockBytes; index += 1) {
    if (index < 148 || index >= 156) sum += block[index] ?? 0;
  }
  return sum;
}

function parseSize(field: Buffer): number {
  // The high bit marks GNU's base-256 form, for 8 GiB and more and for negative numbers: no context needs either.
  const size = ((field[0] ?? 0) & 0x80) === 0 ? parseOctal(field) : null;
  if (size === null) throw corrupt('has an entry whose size is no number, negative, or 8 GiB and more');
  return size;
}

/** Octal digits, spaces before, NULs or spaces after; null for anything else. An empty field is 0. */
function parseOctal(field: Buffer): number | null {
  const digits = /^ *([0-7]*)[ \0]*$/.exec(field.toString('latin1'))?.[1];
  return digits === undefined ? null : digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** Base-256 counts as a number: GNU tar writes times before 1970 so. */
function isNumber(field: Buffer): boolean {
  return ((field[0] ?? 0) & 0x80) !== 0 || parseOctal(field) !== null;
}

/** A copy of what stands before the first NUL: the block itself may be part of a large chunk. */
function readName(field: Buffer): Buffer {
  const end = field.indexOf(0);
  if (end >= 0 && !isZero(field.subarray(end)))
    throw refuse('ENTRY_NAME', field.toString('utf8'), 'has a NUL in its name');
  return Buffer.from(end < 0 ? field : field.subarray(0, end));
}

export function corrupt(what: string): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', `The archive ${what}; make it again.`);
}

export function ambiguous(name: Buffer, what: string): KilnError {
  return refuse(
    'ARCHIVE_AMBIGUOUS',
    name.toString('utf8'),
    `${what}, which archive readers take differently`,
  );
}
