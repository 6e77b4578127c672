import { KilnError } from '../model/error.ts';
import { refuse } from './entry-rules.ts';

export const blockBytes = 512;

/** One header block of a tar, as its bytes say: nothing of PAX or GNU extensions is applied yet. */
export type TarHeader = {
  readonly name: Buffer;
  readonly size: number;
  /** The type flag as a character; NUL reads as '0'. */
  readonly type: string;
  readonly linkName: Buffer;
};

/**
 * Reads the fields that decide how an archive is read. POSIX ustar, GNU and the old v7 form; anything that two readers
 * could take differently is refused. Layout: POSIX.1-2017 pax, "ustar Interchange Format".
 * @throws KilnError ARCHIVE_CORRUPT
 */
export function parseTarHeader(block: Buffer): TarHeader {
  checkSum(block);
  const magic = block.toString('latin1', 257, 265);
  const posix = magic === 'ustar\x0000';
  const v7 = magic === '\0'.repeat(8);
  if (!posix && !v7 && magic !== 'ustar  \0') throw corrupt('has a header of an unknown kind');
  const prefix = posix ? untilNul(block.subarray(345, 500)) : Buffer.alloc(0);
  const name = untilNul(block.subarray(0, 100));
  const flag = block[156] ?? 0;
  return {
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : Buffer.from(name),
    size: parseSize(block.subarray(124, 136)),
    type: flag === 0 ? '0' : String.fromCharCode(flag),
    linkName: Buffer.from(untilNul(block.subarray(157, 257))),
  };
}

const zeroBlock = Buffer.alloc(blockBytes);

export function isZero(bytes: Buffer): boolean {
  return bytes.length === blockBytes ? bytes.equals(zeroBlock) : bytes.every((byte) => byte === 0);
}

/** Whether the block could be the first of a tar; used to tell formats apart, so that the error is about the format. */
export function looksLikeTar(block: Buffer): boolean {
  return block.toString('latin1', 257, 262) === 'ustar' || isZero(block) || sumOf(block) === storedSum(block);
}

function checkSum(block: Buffer): void {
  if (sumOf(block) !== storedSum(block)) throw corrupt('has a header whose checksum is wrong');
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

function untilNul(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
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
