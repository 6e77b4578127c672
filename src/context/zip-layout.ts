import type { FileHandle } from 'node:fs/promises';
import { refuse } from './entry-rules.ts';
import { checkUnicodePath, readExtraFields, type ZipEntry } from './zip-directory.ts';
import { readAt, type ZipEnd, zipAmbiguous } from './zip-end.ts';

/** PKWARE APPNOTE 4.3.7, 4.3.9. */
const localHeaderBytes = 30;
const localSignature = 0x04034b50;
const descriptorSignature = 0x08074b50;
const descriptorFlag = 8;
/** Name and extra field are at most 65 535 bytes each. */
const maxLocalBytes = localHeaderBytes + 2 * 65_535 + 16;

/** An entry with the place of its compressed bytes. */
export type PlacedEntry = { readonly entry: ZipEntry; readonly contentAt: number };

/**
 * A zip says where things are twice: in its central directory and before each file. Readers differ in which they believe, so
 * both must say the same, and the file must be made of nothing but entries, directory and end record, in this order.
 * @throws ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT, ENTRY_NAME_ENCODING
 */
export async function checkZipLayout(
  file: FileHandle,
  end: ZipEnd,
  entries: readonly ZipEntry[],
): Promise<PlacedEntry[]> {
  const inOrder = entries.toSorted((a, b) => a.offset - b.offset);
  if (inOrder[0]?.offset !== 0) throw zipAmbiguous('has data before its first entry');
  const contentAt = new Map<ZipEntry, number>();
  for (const [index, entry] of inOrder.entries()) {
    const next = inOrder[index + 1]?.offset ?? end.directoryOffset;
    contentAt.set(entry, await checkEntry(file, entry, next));
  }
  return entries.map((entry) => ({ entry, contentAt: contentAt.get(entry) ?? 0 }));
}

/** Checks that the entry fills its place up to `next`; returns where its content begins. */
async function checkEntry(file: FileHandle, entry: ZipEntry, next: number): Promise<number> {
  const headerBytes = next - entry.offset - entry.compressedSize;
  if (headerBytes < localHeaderBytes || headerBytes > maxLocalBytes) throw gapOrOverlap();
  const local = await readAt(file, entry.offset, headerBytes);
  const nameEnd = localHeaderBytes + local.readUInt16LE(26);
  const extraEnd = nameEnd + local.readUInt16LE(28);
  const described = (entry.flags & descriptorFlag) !== 0;
  const name = Buffer.from(entry.name);
  const same =
    local.readUInt32LE(0) === localSignature &&
    local.readUInt16LE(6) === entry.flags &&
    local.readUInt16LE(8) === entry.method &&
    local.subarray(localHeaderBytes, nameEnd).equals(name) &&
    sizesAgree(local.subarray(14), entry, described);
  if (!same) throw describedTwice(entry);
  const contentAt = entry.offset + extraEnd;
  const descriptorBytes = next - contentAt - entry.compressedSize;
  if (described) await checkDescriptor(file, entry, { at: next - descriptorBytes, bytes: descriptorBytes });
  else if (descriptorBytes !== 0) throw gapOrOverlap();
  checkUnicodePath(entry.name, readExtraFields(local.subarray(nameEnd, extraEnd)));
  return contentAt;
}

/** What follows the content where its sizes were not known before it, with or without a signature. */
async function checkDescriptor(
  file: FileHandle,
  entry: ZipEntry,
  { at, bytes }: { at: number; bytes: number },
): Promise<void> {
  if (bytes !== 12 && bytes !== 16) throw gapOrOverlap();
  const descriptor = await readAt(file, at, bytes);
  const signed = bytes === 16 && descriptor.readUInt32LE(0) === descriptorSignature;
  if (signed !== (bytes === 16) || !sizesAgree(descriptor.subarray(bytes - 12), entry, false))
    throw describedTwice(entry);
}

/** Checksum, compressed size, size: in this order in local headers and in descriptors. One not known yet is 0. */
function sizesAgree(bytes: Buffer, entry: ZipEntry, mayBeUnknown: boolean): boolean {
  return [entry.crc32, entry.compressedSize, entry.size].every((expected, index) => {
    const written = bytes.readUInt32LE(index * 4);
    return written === expected || (mayBeUnknown && written === 0);
  });
}

function describedTwice({ name }: ZipEntry): Error {
  return refuse('ARCHIVE_AMBIGUOUS', name, 'is described differently in two places');
}

function gapOrOverlap(): Error {
  return zipAmbiguous('has entries that overlap, or data between them');
}
