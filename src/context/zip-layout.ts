import type { FileHandle } from 'node:fs/promises';
import type { Entry } from 'yauzl';
import { KilnError } from '../model/error.ts';
import { refuse } from './entry-rules.ts';

/** Sizes of the records, without their variable parts (PKWARE APPNOTE 4.3). */
const localHeaderBytes = 30;
const endRecordBytes = 22;
const maxCommentBytes = 65_535;
const endSignature = Buffer.from('PK\x05\x06');
const zip64LocatorSignature = Buffer.from('PK\x06\x07');
const localSignature = 0x04034b50;

const encryptedFlag = 1;
const descriptorFlag = 8;
const utf8Flag = 0x800;
/** A data descriptor, with and without its signature. */
const descriptorBytes = [12, 16];
const unicodePathExtra = 0x7075;

type EndRecord = {
  readonly entries: number;
  readonly directoryOffset: number;
  readonly directoryBytes: number;
};

/**
 * A zip says where things are twice: in its central directory and before each file. Readers differ in which they believe, so
 * both must say the same, and the file must be made of nothing but entries, directory and end record, in this order.
 * @throws ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT, ARCHIVE_UNSUPPORTED, ARCHIVE_EMPTY, ENTRY_NAME_ENCODING
 */
export async function checkZipLayout(file: FileHandle, entries: readonly Entry[]): Promise<void> {
  const end = await readEndRecord(file);
  if (entries.length === 0)
    throw new KilnError('ARCHIVE_EMPTY', 'The zip is empty; send a context with at least one file.');
  if (end.entries !== entries.length) throw ambiguous('counts its entries differently in two places');
  const inOrder = entries.toSorted((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader);
  let position = 0;
  for (const [index, entry] of inOrder.entries()) {
    if (entry.relativeOffsetOfLocalHeader !== position)
      throw ambiguous('has entries that overlap, or data between them');
    const next = inOrder[index + 1]?.relativeOffsetOfLocalHeader ?? end.directoryOffset;
    await checkEntry(file, entry, next);
    position = next;
  }
}

/** The name as bytes; with `decodeStrings: false` yauzl leaves it so. */
export function rawName({ fileName }: Entry): Buffer {
  const name: unknown = fileName;
  return Buffer.isBuffer(name) ? name : Buffer.from(String(name));
}

/** Exactly one end record, and it ends the file. */
async function readEndRecord(file: FileHandle): Promise<EndRecord> {
  const { size } = await file.stat();
  const tailBytes = Math.min(size, endRecordBytes + maxCommentBytes);
  const { buffer: tail } = await file.read(Buffer.alloc(tailBytes), 0, tailBytes, size - tailBytes);
  const at = tail.indexOf(endSignature);
  if (at < 0 || at + endRecordBytes > tail.length)
    throw new KilnError('ARCHIVE_TRUNCATED', 'The zip has no end record; send all of it.');
  const commentEnd = at + endRecordBytes + tail.readUInt16LE(at + 20);
  if (tail.indexOf(endSignature, at + 1) >= 0 || commentEnd !== tail.length) {
    throw ambiguous('has two end records, or data after its end');
  }
  if (tail.indexOf(zip64LocatorSignature) >= 0)
    throw unsupported('is in the zip64 format, for 4 GiB and more; send a tar.gz');
  const [disk, directoryDisk] = [tail.readUInt16LE(at + 4), tail.readUInt16LE(at + 6)];
  const end = {
    entries: tail.readUInt16LE(at + 10),
    directoryBytes: tail.readUInt32LE(at + 12),
    directoryOffset: tail.readUInt32LE(at + 16),
  };
  if (disk !== 0 || directoryDisk !== 0 || tail.readUInt16LE(at + 8) !== end.entries) {
    throw new KilnError('ARCHIVE_CORRUPT', 'The zip is one part of several; send one whole file.');
  }
  if (end.directoryOffset + end.directoryBytes !== size - tailBytes + at)
    throw ambiguous('has data before its beginning or its end');
  return end;
}

async function checkEntry(file: FileHandle, entry: Entry, next: number): Promise<void> {
  const name = rawName(entry);
  checkEncoding(entry, name);
  const { generalPurposeBitFlag: flags, compressionMethod: method } = entry;
  if (flags & encryptedFlag) throw refuse('ARCHIVE_UNSUPPORTED', name.toString('utf8'), 'is encrypted');
  if (method !== 0 && method !== 8) {
    throw refuse(
      'ARCHIVE_UNSUPPORTED',
      name.toString('utf8'),
      'is compressed by another method than store and deflate',
    );
  }
  const start = entry.relativeOffsetOfLocalHeader;
  const { buffer: local } = await file.read(Buffer.alloc(localHeaderBytes), 0, localHeaderBytes, start);
  const nameBytes = local.readUInt16LE(26);
  const { buffer: localName } = await file.read(
    Buffer.alloc(nameBytes),
    0,
    nameBytes,
    start + localHeaderBytes,
  );
  const described = (flags & descriptorFlag) !== 0;
  const same =
    local.readUInt32LE(0) === localSignature &&
    local.readUInt16LE(6) === flags &&
    local.readUInt16LE(8) === method &&
    localName.equals(name) &&
    (described || sameSizes(local, entry));
  if (!same)
    throw refuse('ARCHIVE_AMBIGUOUS', name.toString('utf8'), 'is described differently in two places');
  const contentEnd = start + localHeaderBytes + nameBytes + local.readUInt16LE(28) + entry.compressedSize;
  const gap = next - contentEnd;
  if (described ? !descriptorBytes.includes(gap) : gap !== 0) {
    throw ambiguous('has entries that overlap, or data between them');
  }
}

function sameSizes(local: Buffer, entry: Entry): boolean {
  return (
    local.readUInt32LE(14) === entry.crc32 &&
    local.readUInt32LE(18) === entry.compressedSize &&
    local.readUInt32LE(22) === entry.uncompressedSize
  );
}

function checkEncoding({ generalPurposeBitFlag: flags, extraFields }: Entry, name: Buffer): void {
  const ascii = name.every((byte) => byte < 0x80);
  if (!ascii && (flags & utf8Flag) === 0) {
    throw refuse('ENTRY_NAME_ENCODING', name.toString('latin1'), 'has a name that is not marked as UTF-8');
  }
  // Info-ZIP: version, checksum of the other name, then the name in UTF-8.
  const unicode = extraFields.find(({ id }) => id === unicodePathExtra)?.data.subarray(5);
  if (unicode && !unicode.equals(name)) {
    throw refuse('ENTRY_NAME_ENCODING', name.toString('utf8'), 'has two different names');
  }
}

function ambiguous(what: string): KilnError {
  return new KilnError('ARCHIVE_AMBIGUOUS', `The zip ${what}, which archive readers take differently.`);
}

function unsupported(what: string): KilnError {
  return new KilnError('ARCHIVE_UNSUPPORTED', `The zip ${what}.`);
}
