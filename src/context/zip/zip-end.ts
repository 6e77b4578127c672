import type { FileHandle } from 'node:fs/promises';
import { KilnError } from '../../model/error.ts';
import { isZero } from '../tar/tar-header.ts';

/** Sizes of the records at the end of a zip, without their variable parts (PKWARE APPNOTE 4.3). */
const endRecordBytes = 22;
const maxCommentBytes = 65_535;
const zip64LocatorBytes = 20;
const zip64RecordBytes = 56;

const endSignature = Buffer.from('PK\x05\x06');
const zip64LocatorSignature = 0x07064b50;
const zip64RecordSignature = 0x06064b50;

/** More than 200 000 members need. All of it is held in memory while it is checked. */
const maxDirectoryBytes = 64 * 1024 * 1024;

/** What the end of a zip says of its central directory. */
export type ZipEnd = {
  readonly entries: number;
  readonly directoryOffset: number;
  readonly directoryBytes: number;
};

/**
 * Reads the end record and, where there is one, its zip64 form. Exactly one end record may be taken for the end of the file,
 * and the central directory must lie right before it.
 * @throws ARCHIVE_TRUNCATED, ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT, ARCHIVE_EMPTY, ARCHIVE_HEADER_TOO_LARGE
 */
export async function readZipEnd(file: FileHandle): Promise<ZipEnd> {
  await removePadding(file);
  const { size } = await file.stat();
  const tailBytes = Math.min(size, endRecordBytes + maxCommentBytes + zip64LocatorBytes);
  const tail = await readAt(file, size - tailBytes, tailBytes);
  const at = findEndRecord(tail);
  const record = tail.subarray(at);
  const start = size - tailBytes + at;
  const hasZip64 =
    at >= zip64LocatorBytes && tail.readUInt32LE(at - zip64LocatorBytes) === zip64LocatorSignature;
  const { end, endsAt } = hasZip64
    ? await readZip64(file, record, start - zip64LocatorBytes)
    : { end: readPlain(record), endsAt: start };
  if (end.directoryBytes > maxDirectoryBytes) throw directoryTooLarge();
  if (end.directoryOffset + end.directoryBytes > endsAt)
    throw corrupt('has a central directory that lies beyond its end');
  if (end.directoryOffset + end.directoryBytes < endsAt)
    throw zipAmbiguous('has data before its beginning or its end');
  if (end.entries === 0)
    throw new KilnError('ARCHIVE_EMPTY', 'The zip is empty; send a context with at least one file.');
  return end;
}

/** bsdtar, the tar of macOS and Windows, fills its last record with zeros when it writes to a pipe. */
const recordBytes = 10_240;

/** Cuts such zeros off, so that nobody takes them for a part of the zip. */
async function removePadding(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  if (size % recordBytes !== 0) return;
  const tailBytes = Math.min(size, 2 * recordBytes);
  const tail = await readAt(file, size - tailBytes, tailBytes);
  const last = tail.lastIndexOf(endSignature);
  if (last < 0 || last + endRecordBytes > tail.length || reachesEnd(tail, last)) return;
  const end = last + endRecordBytes + tail.readUInt16LE(last + 20);
  if (end < tail.length && isZero(tail, end)) await file.truncate(size - tailBytes + end);
}

/** Offset of the last signature; its record must reach the end of the file, and no earlier one may do so as well. */
function findEndRecord(tail: Buffer): number {
  const last = tail.lastIndexOf(endSignature);
  if (last < 0 || last + endRecordBytes > tail.length)
    throw new KilnError('ARCHIVE_TRUNCATED', 'The zip has no end record; send all of it.');
  if (!reachesEnd(tail, last)) throw zipAmbiguous('has two end records, or data after its end');
  for (let at = tail.indexOf(endSignature); at < last; at = tail.indexOf(endSignature, at + 1)) {
    if (reachesEnd(tail, at)) throw zipAmbiguous('has two end records');
  }
  return last;
}

function reachesEnd(tail: Buffer, at: number): boolean {
  return (
    at + endRecordBytes <= tail.length && at + endRecordBytes + tail.readUInt16LE(at + 20) === tail.length
  );
}

function readPlain(record: Buffer): ZipEnd {
  const disks = [record.readUInt16LE(4), record.readUInt16LE(6)];
  const [entriesHere, entries] = [record.readUInt16LE(8), record.readUInt16LE(10)];
  if (disks.some((disk) => disk !== 0) || entriesHere !== entries) throw split();
  return { entries, directoryBytes: record.readUInt32LE(12), directoryOffset: record.readUInt32LE(16) };
}

/** The zip64 record must lie right before its locator, and the plain record must say the same or nothing. */
async function readZip64(
  file: FileHandle,
  plain: Buffer,
  locatorAt: number,
): Promise<{ end: ZipEnd; endsAt: number }> {
  const locator = await readAt(file, locatorAt, zip64LocatorBytes);
  const endsAt = locatorAt - zip64RecordBytes;
  if (locator.readUInt32LE(4) !== 0 || locator.readUInt32LE(16) > 1) throw split();
  const declaredAt = Number(locator.readBigUInt64LE(8));
  if (endsAt < 0 || declaredAt > endsAt) throw corrupt('has a zip64 record that lies beyond its end');
  const record = await readAt(file, endsAt, zip64RecordBytes);
  if (declaredAt !== endsAt || record.readUInt32LE(0) !== zip64RecordSignature)
    throw zipAmbiguous('has a zip64 record in another place than its locator says');
  if (record.readUInt32LE(16) !== 0 || record.readUInt32LE(20) !== 0) throw split();
  const end = {
    entries: Number(record.readBigUInt64LE(32)),
    directoryBytes: Number(record.readBigUInt64LE(40)),
    directoryOffset: Number(record.readBigUInt64LE(48)),
  };
  const same =
    [end.entries, 0xffff].includes(plain.readUInt16LE(10)) &&
    [end.directoryBytes, 0xffffffff].includes(plain.readUInt32LE(12)) &&
    [end.directoryOffset, 0xffffffff].includes(plain.readUInt32LE(16));
  if (!same) throw zipAmbiguous('has a zip64 record that says something else than its end record');
  return { end, endsAt };
}

/** A central directory header without its variable parts (PKWARE APPNOTE 4.3.12). */
export const directoryHeaderBytes = 46;
const walkBytes = 1024 * 1024;

/** Each header of the central directory says on which disk of a split zip its member starts, which yauzl does not tell. @throws ARCHIVE_CORRUPT */
export async function refuseOtherDisks(file: FileHandle, end: ZipEnd): Promise<void> {
  const last = end.directoryOffset + end.directoryBytes - directoryHeaderBytes;
  let chunk: Buffer = Buffer.alloc(0);
  let chunkAt = end.directoryOffset;
  for (let at = end.directoryOffset; at <= last; ) {
    if (at + directoryHeaderBytes > chunkAt + chunk.length) {
      chunk = await readAt(file, at, walkBytes);
      chunkAt = at;
    }
    const header = chunk.subarray(at - chunkAt);
    if (header.readUInt16LE(34) !== 0) throw split();
    const variableBytes = header.readUInt16LE(28) + header.readUInt16LE(30) + header.readUInt16LE(32);
    at += directoryHeaderBytes + variableBytes;
  }
}

/** `length` bytes at `position`; zeros where the file ends before them. */
async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer;
}

export function zipAmbiguous(what: string): KilnError {
  return new KilnError('ARCHIVE_AMBIGUOUS', `The zip ${what}, which archive readers take differently.`);
}

function corrupt(what: string): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', `The zip ${what}; make it again.`);
}

function split(): KilnError {
  return new KilnError('ARCHIVE_CORRUPT', 'The zip is one part of several; send one whole file.');
}

function directoryTooLarge(): KilnError {
  const message = `The zip has a central directory of more than ${maxDirectoryBytes} bytes.`;
  return new KilnError('ARCHIVE_HEADER_TOO_LARGE', message, { details: { limit: maxDirectoryBytes } });
}
