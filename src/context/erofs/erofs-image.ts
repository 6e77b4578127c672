import { sortInTurns, Turns } from '../../lib/turns.ts';
import { type Member, type Metadata, refuse } from '../member.ts';
import type { Placement } from '../member-rules.ts';
import {
  createFolder,
  type FolderNode,
  type MemberNode,
  type VisitedFolder,
  walkFolders,
} from '../member-tree.ts';
import type { MemoryBudget } from '../memory-budget.ts';
import {
  addLinks,
  type Dirent,
  encodeDirectory,
  encodeSuperblock,
  encodeXattrs,
  erofsBlockBytes,
  inodeBytes,
  noXattrs,
  writeDirectoryData,
  writeInode,
  writeXattrCount,
} from './erofs-format.ts';
import { InodeTable } from './inode-table.ts';

/** Of folders that no member of the archive describes. */
const impliedMetadata: Metadata = {
  ...{ mode: 0o755, uid: 0, gid: 0, xattrs: [] },
  mtime: { seconds: 0, nanoseconds: 0 },
};

/** A context may have all its names in one folder: its directory is made in turns of this many. */
const namesPerTurn = 2000;
/** Of directories, whose blocks hold some 300 names at most. */
const buffersPerWrite = 32;

const zeros = Buffer.alloc(64 * 1024);

/** Bytes of the image, or that many zeros which need not be written. */
export type ImagePiece = Buffer | { readonly holeBytes: number };

/**
 * Makes of checked members, as they come, the image of a read-only file system that the guest mounts as it is: contents first,
 * as they arrive, then folders, then inodes. Memory holds 64 bytes and the xattrs of each member, never content.
 */
export class ErofsImage {
  readonly #root = createFolder();
  readonly #memory: MemoryBudget;
  readonly #inodes = new InodeTable();
  #waiting: ImagePiece[] = [zeros.subarray(0, erofsBlockBytes)];
  /** Where the next byte goes. */
  #position = erofsBlockBytes;

  constructor(memory: MemoryBudget) {
    this.#memory = memory;
    // The superblock has two bytes for the root's place, so it comes first.
    this.#writeInode(this.#root, impliedMetadata, noXattrs);
  }

  /** Gives the image a folder in its root: a tree in which members that are added have their places. */
  addFolder(name: string, folder: FolderNode): void {
    this.#root.children.set(name, folder);
  }

  /** Where in the image the content of the next file begins. */
  get nextContentAt(): number {
    return Math.ceil(this.#position / erofsBlockBytes) * erofsBlockBytes;
  }

  /**
   * Describes a member, whose content must follow. Where one with its name came before, that is in the image no more under this name;
   * its content stays, without any.
   * @throws KilnError ARCHIVE_HEADER_TOO_LARGE, ARCHIVE_TOO_LARGE by its xattrs
   */
  add({ node, replaced }: Placement, { type, name, metadata }: Member): void {
    if (replaced && addLinks(this.#inodes.get(replaced.inode), -1) === 0) this.#inodes.count -= 1;
    if (type === 'hardlink') {
      addLinks(this.#inodes.get(node.inode), 1);
      return;
    }
    // A folder that comes again: what was known of it may leave no room for its xattrs.
    if (node.inode !== 0) {
      this.#inodes.count -= 1;
      node.inode = 0;
    }
    const xattrs = encodeXattrs(metadata.xattrs);
    if (xattrs === null) {
      const what = 'has larger extended attributes than a file can have';
      throw refuse('ARCHIVE_HEADER_TOO_LARGE', name, what);
    }
    this.#memory.take(xattrs.length);
    if (node.type === 'symlink' || (node.type === 'file' && node.size > 0)) this.#align();
    this.#writeInode(node, metadata, xattrs);
    if (node.type === 'symlink') this.content(Buffer.from(node.target));
  }

  /** The next bytes of the file that was added last. */
  content(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#position += bytes.length;
  }

  /** The same of zeros. Only many are worth a hole in the file. */
  hole(bytes: number): void {
    if (bytes === 0) return;
    if (bytes <= zeros.length) {
      this.content(zeros.subarray(0, bytes));
      return;
    }
    this.#waiting.push({ holeBytes: bytes });
    this.#position += bytes;
  }

  /** What of the image is known and was not taken yet, in order. */
  take(): ImagePiece[] {
    const taken = this.#waiting;
    this.#waiting = [];
    return taken;
  }

  /**
   * The rest of the image, in order.
   * @returns its first block, which stands in the image's place 0 once all else is written.
   */
  async *finish(): AsyncGenerator<ImagePiece[], Buffer> {
    yield* this.#directories();
    this.#align();
    const metadataBlock = this.#position / erofsBlockBytes;
    for (const chunk of this.#inodes.chunks()) this.content(chunk);
    this.#align();
    yield this.take();
    return encodeSuperblock({
      rootSlot: this.#root.inode,
      inodes: this.#inodes.count,
      blocks: this.#position / erofsBlockBytes,
      metadataBlock,
    });
  }

  #writeInode(node: MemberNode, metadata: Metadata, xattrs: Buffer): void {
    if (node.inode === 0) node.inode = this.#inodes.add(inodeBytes + xattrs.length);
    const inode = this.#inodes.get(node.inode);
    const size = contentBytes(node);
    const block = size > 0 ? this.#position / erofsBlockBytes : 0;
    writeInode(inode, { type: node.type, metadata, size, block, number: node.inode });
    writeXattrCount(inode, xattrs);
    xattrs.copy(inode, inodeBytes);
  }

  #align(): void {
    const bytes = this.nextContentAt - this.#position;
    if (bytes > 0) this.content(zeros.subarray(0, bytes));
  }

  async *#directories(): AsyncGenerator<ImagePiece[]> {
    const turns = new Turns(namesPerTurn);
    for (const visited of walkFolders(this.#root)) {
      const dirents = await this.#dirents(visited, turns);
      this.#align();
      const start = this.#position;
      // Each folder in this one links to it, and so do `.` and its own name.
      let links = 0;
      for (const { type } of dirents) if (type === 'directory') links += 1;
      for (const { block, used } of encodeDirectory(dirents)) {
        this.#align();
        this.content(block.subarray(0, used));
        if (this.#waiting.length >= buffersPerWrite) yield this.take();
      }
      writeDirectoryData(this.#inodes.get(visited.folder.inode), {
        size: this.#position - start,
        block: start / erofsBlockBytes,
        links,
      });
    }
    yield this.take();
  }

  /** In the order that readers search them: by the bytes of their names. */
  async #dirents({ folder, parent }: VisitedFolder, turns: Turns): Promise<Dirent[]> {
    const dirents = [direntOf('.', folder), direntOf('..', parent)];
    for (const [name, node] of folder.children) {
      if (node.type === 'special') continue;
      if (node.inode === 0) this.#writeInode(node, impliedMetadata, noXattrs);
      dirents.push(direntOf(name, node));
      const turn = turns.step();
      if (turn) await turn;
    }
    return sortInTurns(dirents, (a, b) => Buffer.compare(a.name, b.name));
  }
}

function direntOf(name: string, { inode, type }: MemberNode): Dirent {
  return { name: Buffer.from(name), slot: inode, type };
}

function contentBytes(node: MemberNode): number {
  if (node.type === 'directory') return 0;
  return node.type === 'file' ? node.size : Buffer.byteLength(node.target);
}
