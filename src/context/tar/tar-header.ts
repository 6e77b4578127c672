import { KilnError } from '../../model/error.ts';
import { refuse } from '../member.ts';

export const blockBytes = 512;

/** One header block of a tar, as its bytes say: nothing of PAX or GNU extensions is applied yet. */
export type TarHeader = {
  readonly name: Buffer;
  readonly size: number;
  /** The type flag as a character. */
  readonly type: string;
  readonly linkName: Buffer;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since 1970, negative before. */
  readonly mtime: number;
  /** The block itself, which is lent. */
  readonly block: Buffer;
};

/** Where a field stands in its block. Fields are read in place: an archive may have 200 000 headers. */
type Field = readonly [start: number, end: number];

const nameField: Field = [0, 100];
const sizeField: Field = [124, 136];
const checksumField: Field = [148, 156];
const typeAt = 156;
/** What is left of a member that began in another volume. */
const continuedType = 0x4d;
const sparseType = 0x53;
const linkField: Field = [157, 257];
const magicField: Field = [257, 265];
const prefixField: Field = [345, 500];
/** In the form of star, which node-tar writes too: a shorter prefix, the times of access and change behind it, and a mark. */
const starPrefixField: Field = [345, 476];
const starTimes: readonly Field[] = [
  [476, 488],
  [488, 500],
];
const starMark = Buffer.from('tar\0');
const modeField: Field = [100, 108];
const uidField: Field = [108, 116];
const gidField: Field = [116, 124];
const mtimeField: Field = [136, 148];
/** In GNU's form: the times of access and change. */
const gnuTimes: readonly Field[] = [
  [345, 357],
  [357, 369],
];

/**
 * Reads the fields that decide how an archive is read. POSIX ustar, GNU and the old v7 form; anything that two readers
 * could take differently is refused. Layout: POSIX.1-2017 pax, "ustar Interchange Format".
 * @throws KilnError ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS, ENTRY_NAME
 */
export function parseTarHeader(block: Buffer): TarHeader {
  if (sumOf(block) !== parseOctal(block, checksumField))
    throw corrupt('has a header whose checksum is wrong');
  if (block[typeAt] === continuedType)
    throw new KilnError('ARCHIVE_CORRUPT', 'The tar is one part of several; send one whole file.');
  return {
    name: withPrefix(block, readText(block, nameField)),
    size: parseSize(block),
    type: String.fromCharCode(block[typeAt] ?? 0),
    linkName: readText(block, linkField),
    mode: requireNumber(block, modeField) & 0o7777,
    uid: requireNumber(block, uidField),
    gid: requireNumber(block, gidField),
    mtime: requireNumber(block, mtimeField),
    block,
  };
}

/** Each form of header uses the last 155 bytes in another way. A reader that takes one form for another must find nothing there. */
function withPrefix(block: Buffer, name: Buffer): Buffer {
  const magic = block.toString('latin1', ...magicField);
  if (magic === 'ustar\x0000') {
    const star = isStar(block);
    if (!star && !isZero(block, 500)) throw ambiguous(name, 'has a header of the form of star');
    const prefix = readText(block, star ? starPrefixField : prefixField);
    return prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name;
  }
  const gnu = magic === 'ustar  \0';
  if (!gnu && magic !== '\0'.repeat(8)) throw corrupt('has a header of an unknown kind');
  // Go takes GNU's times for a prefix when they are no numbers. A sparse file, type S, has its map there.
  const hasTimes = gnu && gnuTimes.every((field) => isNumber(block, field));
  if (!isZero(block, hasTimes ? 369 : 345) && block[typeAt] !== sparseType)
    throw ambiguous(name, 'has a name in two parts, in a form of header that has none');
  return name;
}

/** Whether the prefix ends where it does for star, and so before what the prefix of others would go on with. */
function isStar(block: Buffer): boolean {
  const ends = block[starPrefixField[1] - 1] === 0 && isZero(block, 500, 508);
  const marked = isZero(block, 508) || block.subarray(508).equals(starMark);
  return ends && marked && block[typeAt] !== sparseType && starTimes.every((field) => isNumber(block, field));
}

export function isZero(bytes: Buffer, start = 0, end = bytes.length): boolean {
  for (let index = start; index < end; index += 1) {
    if (bytes[index] !== 0) return false;
  }
  return true;
}

/** Whether the block could be the first of a tar; used to tell formats apart, so that the error is about the format. */
export function looksLikeTar(block: Buffer): boolean {
  const magic = block.toString('latin1', ...magicField);
  return magic.startsWith('ustar') || isZero(block) || sumOf(block) === parseOctal(block, checksumField);
}

/** Sum of all bytes, those of the checksum itself taken as spaces. */
function sumOf(block: Buffer): number {
  let sum = 8 * 32;
  for (let index = 0; index < checksumField[0]; index += 1) sum += block[index] ?? 0;
  for (let index = checksumField[1]; index < blockBytes; index += 1) sum += block[index] ?? 0;
  return sum;
}

function parseSize(block: Buffer): number {
  // The high bit marks GNU's base-256 form, for 8 GiB and more and for negative numbers: no context needs either.
  const size = parseOctal(block, sizeField);
  if (size === null) throw corrupt('has an entry whose size is no number, negative, or 8 GiB and more');
  return size;
}

/** Octal, or base-256 in two's complement, as GNU tar writes times before 1970; null for anything else. */
function parseNumber(block: Buffer, field: Field): number | null {
  const [start, end] = field;
  const first = block[start] ?? 0;
  if ((first & 0x80) === 0) return parseOctal(block, field);
  // The mark is the first bit, the sign the second.
  let value = (first & 0x40) === 0 ? first & 0x3f : (first & 0x3f) - 0x40;
  for (let index = start + 1; index < end; index += 1) value = value * 256 + (block[index] ?? 0);
  return Number.isSafeInteger(value) ? value : null;
}

function requireNumber(block: Buffer, field: Field): number {
  const value = parseNumber(block, field);
  if (value === null) throw corrupt('has a header with a field that is no number');
  return value;
}

function isNumber(block: Buffer, field: Field): boolean {
  return parseNumber(block, field) !== null;
}

const space = 0x20;
const zero = 0x30;

/** Spaces, octal digits, spaces or NULs; null for anything else. An empty field is 0. */
export function parseOctal(block: Buffer, [start, end]: Field): number | null {
  let index = start;
  let value = 0;
  while (index < end && block[index] === space) index += 1;
  for (; index < end; index += 1) {
    const digit = (block[index] ?? 0) - zero;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; index < end; index += 1) {
    if (block[index] !== 0 && block[index] !== space) return null;
  }
  return value;
}

/** A copy of what stands before the first NUL: the block itself may be part of a large chunk. */
function readText(block: Buffer, [start, end]: Field): Buffer {
  const nul = block.indexOf(0, start);
  if (nul < 0 || nul >= end) return Buffer.from(block.subarray(start, end));
  if (!isZero(block, nul, end))
    throw refuse('ENTRY_NAME', block.subarray(start, end), 'has a NUL in its name');
  return Buffer.from(block.subarray(start, nul));
}

export function corrupt(what: string): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', `The archive ${what}; make it again.`);
}

export function ambiguous(name: Buffer | null, what: string): KilnError {
  return refuse('ARCHIVE_AMBIGUOUS', name, `${what}, which archive readers take differently`);
}
