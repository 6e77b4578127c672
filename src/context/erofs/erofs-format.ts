import type { Metadata, Xattr } from '../member.ts';

/**
 * The parts of an EROFS image that kiln writes: uncompressed, each file in blocks of its own, inodes of the extended form.
 * Layout: Linux fs/erofs/erofs_fs.h, as all kernels since 5.4 read it.
 */
export const erofsBlockBytes = 4096;
/** Inodes are counted in slots of this size from the start of the metadata. */
export const slotBytes = 32;
export const inodeBytes = 64;

const magic = 0xe0f5e1e2;
const superblockAt = 1024;
/** The extended form, data in consecutive blocks. */
const plainExtended = 1;

const fileTypes = { file: 0o100000, directory: 0o040000, symlink: 0o120000 } as const;
const direntTypes = { file: 1, directory: 2, symlink: 7 } as const;
export type NodeType = keyof typeof fileTypes;

/** The first block. */
export function encodeSuperblock(image: {
  rootSlot: number;
  inodes: number;
  blocks: number;
  metadataBlock: number;
}): Buffer {
  const block = Buffer.alloc(erofsBlockBytes);
  const at = superblockAt;
  block.writeUInt32LE(magic, at);
  block.writeUInt8(Math.log2(erofsBlockBytes), at + 12);
  block.writeUInt16LE(image.rootSlot, at + 14);
  block.writeBigUInt64LE(BigInt(image.inodes), at + 16);
  block.writeUInt32LE(image.blocks, at + 36);
  block.writeUInt32LE(image.metadataBlock, at + 40);
  return block;
}

/** Writes all of an inode that is known when its member comes; `inode` is zeroed, or holds an earlier state of the same. */
export function writeInode(
  inode: Buffer,
  node: { type: NodeType; metadata: Metadata; size: number; block: number; number: number },
): void {
  const { mode, uid, gid, mtime } = node.metadata;
  inode.writeUInt16LE(plainExtended, 0);
  inode.writeUInt16LE(fileTypes[node.type] | mode, 4);
  writeSize(inode, node.size);
  inode.writeUInt32LE(node.block, 16);
  inode.writeUInt32LE(node.number, 20);
  inode.writeUInt32LE(uid, 24);
  inode.writeUInt32LE(gid, 28);
  inode.writeBigInt64LE(BigInt(mtime.seconds), 32);
  inode.writeUInt32LE(mtime.nanoseconds, 40);
  inode.writeUInt32LE(1, 44);
}

function writeSize(inode: Buffer, size: number): void {
  inode.writeUInt32LE(size % 2 ** 32, 8);
  inode.writeUInt32LE(Math.floor(size / 2 ** 32), 12);
}

/** Counts names more or fewer; returns how many there are. */
export function addLinks(inode: Buffer, names: 1 | -1): number {
  const count = inode.readUInt32LE(44) + names;
  inode.writeUInt32LE(count, 44);
  return count;
}

/** A directory's size, place and links are known when all its names are. */
export function writeDirectoryData(
  inode: Buffer,
  data: { size: number; block: number; links: number },
): void {
  writeSize(inode, data.size);
  inode.writeUInt32LE(data.block, 16);
  inode.writeUInt32LE(data.links, 44);
}

const xattrHeaderBytes = 12;
const xattrPrefixes = [
  { prefix: 'user.', index: 1 },
  { prefix: 'trusted.', index: 4 },
  { prefix: 'security.', index: 6 },
] as const;

/** All xattrs of one inode as encoded. Linux lists no more than 64 KiB of names, and what tools write is a few hundred bytes. */
const maxXattrBytes = 64 * 1024;
/** Of a name without its namespace (linux/limits.h). */
const maxXattrNameBytes = 255;

export const noXattrs = Buffer.alloc(0);

/** What follows an inode: its xattrs, in those namespaces that tar sets; empty for none, null where they are larger than can be. */
export function encodeXattrs(xattrs: readonly Xattr[]): Buffer | null {
  const known = xattrs.flatMap(({ name, value }) => {
    const namespace = xattrPrefixes.find(({ prefix }) => name.startsWith(prefix));
    if (!namespace) return [];
    return [{ index: namespace.index, name: Buffer.from(name.slice(namespace.prefix.length)), value }];
  });
  if (known.length === 0) return noXattrs;
  const bytes = known.reduce((sum, xattr) => sum + xattrBytes(xattr), xattrHeaderBytes);
  if (bytes > maxXattrBytes || known.some(({ name }) => name.length > maxXattrNameBytes)) return null;
  return Buffer.concat([Buffer.alloc(xattrHeaderBytes), ...known.map(encodeXattr)]);
}

function xattrBytes({ name, value }: { name: Buffer; value: Buffer }): number {
  return Math.ceil((4 + name.length + value.length) / 4) * 4;
}

export function writeXattrCount(inode: Buffer, xattrs: Buffer): void {
  if (xattrs.length > 0) inode.writeUInt16LE((xattrs.length - xattrHeaderBytes) / 4 + 1, 2);
}

function encodeXattr({ index, name, value }: { index: number; name: Buffer; value: Buffer }): Buffer {
  const bytes = Buffer.alloc(xattrBytes({ name, value }));
  bytes.writeUInt8(name.length, 0);
  bytes.writeUInt8(index, 1);
  bytes.writeUInt16LE(value.length, 2);
  name.copy(bytes, 4);
  value.copy(bytes, 4 + name.length);
  return bytes;
}

export type Dirent = { readonly name: Buffer; readonly slot: number; readonly type: NodeType };

const direntBytes = 12;

/**
 * The blocks of a directory and the bytes used of each: all count but the rest of the last.
 * @param dirents hold `.` and `..` and are sorted by the bytes of their names
 */
export function* encodeDirectory(dirents: readonly Dirent[]): Generator<{ block: Buffer; used: number }> {
  for (let start = 0; start < dirents.length; ) {
    let end = start;
    let used = 0;
    for (; end < dirents.length; end += 1) {
      const bytes = direntBytes + (dirents[end]?.name.length ?? 0);
      if (used + bytes > erofsBlockBytes) break;
      used += bytes;
    }
    yield { block: encodeDirectoryBlock(dirents.slice(start, end)), used };
    start = end;
  }
}

function encodeDirectoryBlock(dirents: readonly Dirent[]): Buffer {
  const block = Buffer.alloc(erofsBlockBytes);
  let nameAt = dirents.length * direntBytes;
  for (const [index, { name, slot, type }] of dirents.entries()) {
    const at = index * direntBytes;
    block.writeBigUInt64LE(BigInt(slot), at);
    block.writeUInt16LE(nameAt, at + 8);
    block.writeUInt8(direntTypes[type], at + 10);
    nameAt += name.copy(block, nameAt);
  }
  return block;
}
