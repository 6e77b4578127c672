import { isUtf8 } from 'node:buffer';
import { type Entry, type ExtraField, parseExtraFields, type ZipFile } from 'yauzl';
import { KilnError } from '../../model/error.ts';
import { type Member, refuse, refuseType } from '../member.ts';
import { parseName } from '../member-name.ts';
import { directoryHeaderBytes, type ZipEnd, zipAmbiguous } from './zip-end.ts';

/** What the central directory says of a member, and no more: yauzl keeps much with each of its entries, and there may be 200 000. */
export type ZipMember = {
  readonly name: string;
  readonly type: Exclude<Member['type'], 'hardlink'>;
  /** Permission bits; 0 where the zip says nothing of them. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly flags: number;
  readonly method: number;
  readonly crc32: number;
  /** Bytes. */
  readonly compressedSize: number;
  readonly size: number;
  /** Where its local header begins in the zip. */
  readonly offset: number;
};

const storeMethod = 0;
export const deflateMethod = 8;
/** Traditional, strong, and with a masked directory. */
const encryptedFlags = 0x1 | 0x40 | 0x2000;
const utf8Flag = 0x800;
const unicodePathExtra = 0x7075;

/** Systems whose external attributes hold a Unix mode: Unix, macOS. */
const unixSystems = [3, 19];
/** The types of a Unix mode (stat.h). */
const typeMask = 0o170000;
const unixTypes = new Map<number, ZipMember['type']>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);

/** Reads the whole central directory. @throws KilnError at the first member that no context may have, or that is unreadable */
export async function readZipDirectory(zip: ZipFile, end: ZipEnd): Promise<ZipMember[]> {
  const members: ZipMember[] = [];
  let bytes = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      members.push(toZipMember(entry));
      bytes += directoryHeaderBytes + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
    }
  } catch (error) {
    throw zipError(error);
  }
  if (bytes !== end.directoryBytes)
    throw zipAmbiguous('has a central directory with other entries than it counts');
  return members;
}

function toZipMember(entry: Entry): ZipMember {
  const name = readName(entry);
  const attributes = unixSystems.includes(entry.versionMadeBy >> 8) ? entry.externalFileAttributes >>> 16 : 0;
  const mtime = Math.floor(entry.getLastModDate({ timezone: 'UTC' }).getTime() / 1000);
  return {
    name,
    type: readType(name, attributes & typeMask, entry),
    mode: attributes & 0o7777,
    mtime: Math.max(0, mtime || 0),
    flags: entry.generalPurposeBitFlag,
    method: readMethod(name, entry),
    crc32: entry.crc32,
    compressedSize: entry.compressedSize,
    size: entry.uncompressedSize,
    offset: entry.relativeOffsetOfLocalHeader,
  };
}

function readName({ fileNameRaw: bytes, generalPurposeBitFlag: flags, extraFields }: Entry): string {
  const ascii = bytes.every((byte) => byte < 0x80);
  if (!ascii && ((flags & utf8Flag) === 0 || !isUtf8(bytes)))
    throw refuse(
      'ENTRY_NAME_ENCODING',
      bytes.toString('latin1'),
      'has a name that is not marked and valid as UTF-8; send a tar.gz',
    );
  const name = bytes.toString('utf8');
  checkUnicodePath(name, extraFields);
  parseName(name);
  if (name.includes('\\'))
    throw refuse('ARCHIVE_AMBIGUOUS', name, "has a '\\' in its name, which some zip readers take for '/'");
  return name;
}

/** Info-ZIP's second name of a member: version, checksum of the first name, then the name in UTF-8. */
export function checkUnicodePath(name: string, extraFields: readonly ExtraField[]): void {
  const second = extraFields.find(({ id }) => id === unicodePathExtra)?.data.subarray(5);
  if (second && !second.equals(Buffer.from(name)))
    throw refuse('ENTRY_NAME_ENCODING', name, 'has two different names');
}

/** The extra fields of a local header. @throws ARCHIVE_CORRUPT */
export function readExtraFields(bytes: Buffer): ExtraField[] {
  try {
    return parseExtraFields(bytes);
  } catch (error) {
    throw zipError(error);
  }
}

function readType(name: string, unixType: number, { uncompressedSize }: Entry): ZipMember['type'] {
  const named = name.endsWith('/') ? 'directory' : 'file';
  const type = unixType === 0 ? named : unixTypes.get(unixType);
  if (!type) throw refuseType(Buffer.from(name));
  if ((type === 'directory') !== (named === 'directory'))
    throw refuse('ARCHIVE_AMBIGUOUS', name, `is a ${type} by its mode and a ${named} by its name`);
  if (type === 'directory' && uncompressedSize > 0)
    throw refuse('ARCHIVE_AMBIGUOUS', name, 'is a folder with content');
  return type;
}

function readMethod(name: string, { compressionMethod, generalPurposeBitFlag }: Entry): number {
  if (generalPurposeBitFlag & encryptedFlags) throw refuse('ARCHIVE_UNSUPPORTED', name, 'is encrypted');
  if (compressionMethod === storeMethod || compressionMethod === deflateMethod) return compressionMethod;
  const what = 'is compressed by another method than store and deflate';
  throw refuse('ARCHIVE_UNSUPPORTED', name, what);
}

/** What yauzl and zlib say of damaged bytes; any other error keeps its own meaning. */
export function zipError(error: unknown): unknown {
  // Theirs are plain errors; those of the file system and our own mistakes are not.
  const plain = error instanceof Error && error.constructor === Error;
  if (!plain || ('code' in error && !String(error.code).startsWith('Z_'))) return error;
  const { message } = error;
  if (message.includes('strong encryption'))
    return new KilnError('ARCHIVE_UNSUPPORTED', 'The zip is encrypted.', { cause: error });
  return new KilnError('ARCHIVE_CORRUPT', `The zip cannot be read: ${message}.`, { cause: error });
}
