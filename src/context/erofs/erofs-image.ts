import { sortInTurns, Turns } from '../../lib/turns.ts';
import { refuse } from '../member-rules.ts';
import {
  addLink,
  type Dirent,
  encodeDirectory,
  encodeSuperblock,
  encodeXattrs,
  erofsBlockBytes,
  inodeBytes,
  type Metadata,
  maxXattrBytes,
  nodeTypeOf,
  noXattrs,
  writeDirectoryData,
  writeInode,
  writeXattrCount,
} from './erofs-format.ts';
import { InodeTable } from './inode-table.ts';

/** An entry that passed the rules. */
export type CheckedMember = {
  /** Without `.` and empty parts; empty for the root. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink';
  /** Bytes of content that follow. */
  readonly size: number;
  /** Of a symbolic link: its text. Of a hard link: the path of the file it is. */
  readonly target: string;
  readonly metadata: Metadata;
};

/** Of folders that no entry of the archive speaks of. */
const impliedMetadata: Metadata = {
  ...{ mode: 0o755, uid: 0, gid: 0, xattrs: [] },
  mtime: { seconds: 0, nanoseconds: 0 },
};

/** A context may have all its names in one folder: its directory is made in turns of this many. */
const namesPerTurn = 2000;
/** Of directories, whose blocks hold some 300 names at most. */
const buffersPerWrite = 32;

const zeros = Buffer.alloc(erofsBlockBytes);

/**
 * Makes of checked entries, as they come, the image of a read-only file system that the guest mounts as it is: contents first,
 * as they arrive, then folders, then inodes. Memory holds 64 bytes and the name of each entry, never content.
 */
export class ErofsImage {
  readonly #inodes = new InodeTable();
  readonly #slots = new Map<string, number>();
  readonly #waiting: Buffer[] = [zeros];
  /** Where the next byte goes. */
  #position = erofsBlockBytes;

  constructor() {
    this.#addNode('', 'directory', impliedMetadata);
  }

  /** Where in the image the content of the next file begins. */
  get nextContentAt(): number {
    return Math.ceil(this.#position / erofsBlockBytes) * erofsBlockBytes;
  }

  add(entry: CheckedMember): void {
    const { path, type, metadata } = entry;
    this.#addParents(path);
    if (type === 'hardlink') {
      const slot = this.#slot(entry.target);
      addLink(this.#inodes.get(slot));
      this.#slots.set(path, slot);
      return;
    }
    if (type === 'symlink') {
      const text = Buffer.from(entry.target);
      this.#align();
      this.#addNode(path, type, metadata, text.length);
      this.content(text);
      return;
    }
    if (type === 'file' && entry.size > 0) this.#align();
    this.#addNode(path, type, metadata, entry.size);
  }

  /** The next bytes of the file that was added last. */
  content(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#position += bytes.length;
  }

  /** The bytes of the image that are known and were not taken yet, in order. */
  take(): Buffer[] {
    return this.#waiting.splice(0);
  }

  /**
   * The rest of the image, in order.
   * @returns its first block, which stands in the image's place 0 once all else is written.
   */
  async *finish(): AsyncGenerator<Buffer[], Buffer> {
    yield* this.#directories();
    this.#align();
    const metadataBlock = this.#position / erofsBlockBytes;
    for (const chunk of this.#inodes.chunks()) this.content(chunk);
    this.#align();
    yield this.take();
    return encodeSuperblock({
      rootSlot: this.#slot(''),
      inodes: this.#inodes.count,
      blocks: this.#position / erofsBlockBytes,
      metadataBlock,
    });
  }

  #addParents(path: string): void {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      if (this.#slots.has(parent)) return;
      this.#addNode(parent, 'directory', impliedMetadata);
    }
  }

  #addNode(path: string, type: 'file' | 'directory' | 'symlink', metadata: Metadata, size = 0): void {
    // The root's inode must be among the first, and nothing that a build sees has the root's xattrs.
    const xattrs = path === '' ? noXattrs : encodeXattrs(metadata.xattrs);
    if (xattrs === null || xattrs.length > maxXattrBytes)
      throw refuse('ARCHIVE_HEADER_TOO_LARGE', path, 'has larger extended attributes than a file can have');
    const known = this.#slots.get(path);
    const slot =
      known !== undefined && xattrs.length === 0 ? known : this.#inodes.add(inodeBytes + xattrs.length);
    const inode = this.#inodes.get(slot);
    const block = size > 0 ? this.#position / erofsBlockBytes : 0;
    writeInode(inode, { type, metadata, size, block, number: slot });
    writeXattrCount(inode, xattrs);
    xattrs.copy(inode, inodeBytes);
    this.#slots.set(path, slot);
  }

  #slot(path: string): number {
    const slot = this.#slots.get(path);
    if (slot === undefined) throw new Error(`'${path}' was never added.`);
    return slot;
  }

  #align(): void {
    const bytes = this.nextContentAt - this.#position;
    if (bytes > 0) this.content(zeros.subarray(0, bytes));
  }

  async *#directories(): AsyncGenerator<Buffer[]> {
    const turns = new Turns(namesPerTurn);
    for (const [path, children] of await this.#children(turns)) {
      const entries = await this.#dirents(path, children, turns);
      this.#align();
      const start = this.#position;
      // Each folder in this one links to it, and so do `.` and its own name.
      let links = 0;
      for (const { type } of entries) if (type === 'directory') links += 1;
      for (const { block, used } of encodeDirectory(entries)) {
        this.#align();
        this.content(block.subarray(0, used));
        if (this.#waiting.length >= buffersPerWrite) yield this.take();
      }
      writeDirectoryData(this.#inodes.get(this.#slot(path)), {
        size: this.#position - start,
        block: start / erofsBlockBytes,
        links,
      });
    }
    yield this.take();
  }

  /** The paths right below each folder. */
  async #children(turns: Turns): Promise<Map<string, string[]>> {
    const children = new Map<string, string[]>();
    for (const [path, slot] of this.#slots) {
      if (nodeTypeOf(this.#inodes.get(slot)) === 'directory' && !children.has(path)) children.set(path, []);
      if (path === '') continue;
      const siblings = children.get(parentOf(path));
      if (siblings) siblings.push(path);
      else children.set(parentOf(path), [path]);
      const turn = turns.step();
      if (turn) await turn;
    }
    return children;
  }

  /** In the order that readers search them: by the bytes of their names. */
  async #dirents(path: string, children: readonly string[], turns: Turns): Promise<Dirent[]> {
    const entry = (name: string, target: string): Dirent => {
      const slot = this.#slot(target);
      return { name: Buffer.from(name), slot, type: nodeTypeOf(this.#inodes.get(slot)) };
    };
    const entries = [entry('.', path), entry('..', parentOf(path))];
    for (const child of children) {
      entries.push(entry(child.slice(child.lastIndexOf('/') + 1), child));
      const turn = turns.step();
      if (turn) await turn;
    }
    return sortInTurns(entries, (a, b) => Buffer.compare(a.name, b.name));
  }
}

/** The root is its own parent. */
function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}
