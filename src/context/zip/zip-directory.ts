import { isUtf8 } from 'node:buffer';
import { type Entry, type ExtraField, parseExtraFields, type ZipFile } from 'yauzl';
import { KilnError } from '../../model/error.ts';
import { type Member, refuse, refuseType } from '../member.ts';
import { parseName } from '../member-name.ts';
import type { MemoryBudget } from '../memory-budget.ts';
import type { Warnings } from '../warnings.ts';
import { directoryHeaderBytes, type ZipEnd, zipAmbiguous } from './zip-end.ts';

/** What the central directory says of a member, and no more: yauzl keeps much with each of its entries, and there may be 200 000. */
export type ZipMember = {
  /** As it is in the zip. */
  readonly name: string;
  readonly type: Exclude<Member['type'], 'hardlink'>;
  /** Permission bits. */
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
  [0o010000, 'special'],
  [0o020000, 'special'],
  [0o060000, 'special'],
  [0o140000, 'special'],
]);

/** What docker on Windows gives all files, as it cannot know which are to be run. */
const modeOfNone = 0o755;

/**
 * Reads the whole central directory. @throws KilnError at the first member that no context may have, or that is unreadable; NO_CAPACITY
 */
export async function readZipDirectory(
  zip: ZipFile,
  end: ZipEnd,
  { warnings, memory }: { warnings: Warnings; memory: MemoryBudget },
): Promise<ZipMember[]> {
  const members: ZipMember[] = [];
  const separators = new Separators();
  let bytes = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      memory.takeFor('listedInZip', entry.fileNameLength);
      const member = toZipMember(entry, warnings);
      separators.check(member.name, warnings);
      members.push(member);
      bytes += directoryHeaderBytes + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
    }
  } catch (error) {
    throw zipError(error);
  }
  if (bytes !== end.directoryBytes)
    throw zipAmbiguous('has a central directory with other entries than it counts');
  return members;
}

/** Old tools of Windows wrote `a\\b`. Where no name of a zip has a slash, that can only mean a folder; else readers differ. */
class Separators {
  #slashed = false;
  #backslashed = false;

  check(name: string, warnings: Warnings): void {
    this.#slashed ||= name.includes('/');
    if (name.includes('\\')) {
      this.#backslashed = true;
      warnings.note('backslash', name);
    }
    if (!this.#slashed || !this.#backslashed) return;
    const what = "has '\\' in names and '/' in others";
    throw zipAmbiguous(what);
  }
}

/** The path of a member, whatever its zip has between folders. */
export function pathOf({ name }: Pick<ZipMember, 'name'>): string {
  return name.replaceAll('\\', '/');
}

function toZipMember(entry: Entry, warnings: Warnings): ZipMember {
  const name = readName(entry, warnings);
  const attributes = unixSystems.includes(entry.versionMadeBy >> 8) ? entry.externalFileAttributes >>> 16 : 0;
  const mtime = Math.floor(entry.getLastModDate({ timezone: 'UTC' }).getTime() / 1000);
  return {
    name,
    type: readType(name, attributes & typeMask, entry),
    mode: attributes === 0 ? modeOfNone : attributes & 0o7777,
    mtime: Math.max(0, mtime || 0),
    flags: entry.generalPurposeBitFlag,
    method: readMethod(name, entry),
    crc32: entry.crc32,
    compressedSize: entry.compressedSize,
    size: entry.uncompressedSize,
    offset: entry.relativeOffsetOfLocalHeader,
  };
}

function readName(
  { fileNameRaw: bytes, generalPurposeBitFlag: flags, extraFields }: Entry,
  warnings: Warnings,
): string {
  if (!isUtf8(bytes)) {
    const what =
      'has a name that is not valid UTF-8; make the zip with a tool that writes it, or send a tar.gz';
    throw refuse('ENTRY_NAME_ENCODING', bytes, what);
  }
  const name = bytes.toString('utf8');
  // Info-ZIP in the C locale marks nothing, and copies the bytes that the file system has.
  if ((flags & utf8Flag) === 0 && bytes.some((byte) => byte >= 0x80)) warnings.note('unmarked', name);
  checkUnicodePath(name, extraFields);
  checkZipName(name);
  return name;
}

function checkZipName(name: string): void {
  if (/^(?:[/\\]|[A-Za-z]:[/\\])/.test(name))
    throw refuse('ENTRY_ABSOLUTE', name, 'has an absolute path; paths start inside the context');
  parseName(pathOf({ name }));
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
  const named = /[/\\]$/.test(name) ? 'directory' : 'file';
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
