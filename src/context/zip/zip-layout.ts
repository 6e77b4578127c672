import type { FileHandle } from 'node:fs/promises';
import type { ExtraField } from 'yauzl';
import { refuse } from '../member.ts';
import { ReadAhead } from './read-ahead.ts';
import { checkUnicodePath, readExtraFields, type ZipMember } from './zip-directory.ts';
import { type ZipEnd, zipAmbiguous } from './zip-end.ts';

/** PKWARE APPNOTE 4.3.7, 4.3.9. */
const localHeaderBytes = 30;
const localSignature = 0x04034b50;
const descriptorSignature = 0x08074b50;
const descriptorFlag = 8;
const zip64Extra = 0x0001;
const seeZip64 = 0xffffffff;
/** Name and extra field are at most 65 535 bytes each. */
const maxLocalBytes = localHeaderBytes + 2 * 65_535 + 16;

/** A member with the place of its compressed bytes. */
export type PlacedMember = { readonly member: ZipMember; readonly contentAt: number };

/**
 * A zip says where things are twice: in its central directory and before each file. Readers differ in which they believe, so
 * both must say the same, and the file must be made of nothing but members, directory and end record, in this order.
 * @throws ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT, ENTRY_NAME_ENCODING
 */
export async function checkZipLayout(
  file: FileHandle,
  end: ZipEnd,
  members: readonly ZipMember[],
): Promise<PlacedMember[]> {
  const inOrder = members.toSorted((a, b) => a.offset - b.offset);
  if (inOrder[0]?.offset !== 0) throw zipAmbiguous('has data before its first entry');
  const contentAt = new Map<ZipMember, number>();
  const ahead = new ReadAhead(file);
  for (const [index, member] of inOrder.entries()) {
    const next = inOrder[index + 1]?.offset ?? end.directoryOffset;
    contentAt.set(member, await checkMember(ahead, member, next));
  }
  return members.map((member) => ({ member, contentAt: contentAt.get(member) ?? 0 }));
}

/** Checks that the member fills its place up to `next`; returns where its content begins. */
async function checkMember(ahead: ReadAhead, member: ZipMember, next: number): Promise<number> {
  const headerBytes = next - member.offset - member.compressedSize;
  if (headerBytes < localHeaderBytes || headerBytes > maxLocalBytes) throw gapOrOverlap();
  const local = await ahead.read(member.offset, headerBytes);
  const nameEnd = localHeaderBytes + local.readUInt16LE(26);
  const extraEnd = nameEnd + local.readUInt16LE(28);
  const described = (member.flags & descriptorFlag) !== 0;
  const name = Buffer.from(member.name);
  const extra = readExtraFields(local.subarray(nameEnd, extraEnd));
  const same =
    local.readUInt32LE(0) === localSignature &&
    local.readUInt16LE(6) === member.flags &&
    local.readUInt16LE(8) === member.method &&
    local.subarray(localHeaderBytes, nameEnd).equals(name) &&
    sizesAgree(readLocalSizes(local, extra), member, described);
  if (!same) throw describedTwice(member);
  const contentAt = member.offset + extraEnd;
  const descriptorBytes = next - contentAt - member.compressedSize;
  if (described) await checkDescriptor(ahead, member, { at: next - descriptorBytes, bytes: descriptorBytes });
  else if (descriptorBytes !== 0) throw gapOrOverlap();
  checkUnicodePath(member.name, extra);
  return contentAt;
}

/** What follows the content where its sizes were not known before it, with or without a signature. */
async function checkDescriptor(
  ahead: ReadAhead,
  member: ZipMember,
  { at, bytes }: { at: number; bytes: number },
): Promise<void> {
  const form = descriptorForms[bytes];
  if (!form) throw gapOrOverlap();
  const descriptor = await ahead.read(at, bytes);
  const signed = !form.signed || descriptor.readUInt32LE(0) === descriptorSignature;
  const sizes = descriptor.subarray(form.signed ? 4 : 0);
  if (!signed || !sizesAgree(form.wide ? readWideSizes(sizes) : readSizes(sizes), member, false))
    throw describedTwice(member);
}

/** The forms of a descriptor by their length in bytes. In a zip64 the sizes take 8 bytes instead of 4. */
const descriptorForms: Readonly<Record<number, { readonly signed: boolean; readonly wide: boolean }>> = {
  12: { signed: false, wide: false },
  16: { signed: true, wide: false },
  20: { signed: false, wide: true },
  24: { signed: true, wide: true },
};

/** What is written of a member's content, in this order everywhere. */
type Sizes = readonly [crc32: number, compressedSize: number, size: number];

function readSizes(bytes: Buffer): Sizes {
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.readUInt32LE(8)];
}

function readWideSizes(bytes: Buffer): Sizes {
  return [bytes.readUInt32LE(0), Number(bytes.readBigUInt64LE(4)), Number(bytes.readBigUInt64LE(12))];
}

/**
 * The sizes in a local header. Where both say "see zip64" they are in the one extra field of that kind, the size first; where only one
 * does, or there are several fields, readers differ: the sizes stay as they are, and agree with nothing.
 */
function readLocalSizes(local: Buffer, extra: readonly ExtraField[]): Sizes {
  const sizes = readSizes(local.subarray(14));
  const [wide, another] = extra.filter(({ id }) => id === zip64Extra);
  if (!wide || another || wide.data.length < 16 || sizes[1] !== seeZip64 || sizes[2] !== seeZip64)
    return sizes;
  return [sizes[0], Number(wide.data.readBigUInt64LE(8)), Number(wide.data.readBigUInt64LE(0))];
}

/** Sizes that were not known when they were written are 0. */
function sizesAgree(sizes: Sizes, member: ZipMember, mayBeUnknown: boolean): boolean {
  const expected = [member.crc32, member.compressedSize, member.size];
  return sizes.every((written, index) => written === expected[index] || (mayBeUnknown && written === 0));
}

function describedTwice({ name }: ZipMember): Error {
  return refuse(
    'ARCHIVE_AMBIGUOUS',
    name,
    'is described differently in two places; make the zip with another tool, or send a tar.gz',
  );
}

function gapOrOverlap(): Error {
  return zipAmbiguous('has entries that overlap, or data between them');
}
