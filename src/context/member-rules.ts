import { printable } from '../lib/text.ts';
import { type Member, maxTargetBytes, refuse, refuseCount } from './member.ts';
import { decodeText, parseName, splitPath } from './member-name.ts';
import { createFolder, type FileNode, type FolderNode, type MemberNode } from './member-tree.ts';
import type { MemoryBudget } from './memory-budget.ts';

/**
 * What a context may hold: no name that leaves it, none that is written through a link, none twice. Checked for each member
 * before its content comes; the same for tar and zip.
 */
export class MemberRules {
  /** The tree of all members that passed. */
  readonly root = createFolder();
  readonly #maxMembers: number;
  readonly #memory: MemoryBudget;
  #count = 0;
  #implied = 0;

  constructor(maxMembers: number, memory: MemoryBudget) {
    this.#maxMembers = maxMembers;
    this.#memory = memory;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Checks a member and gives it its place in the tree.
   * @param offset where its content would begin in the staged image, in bytes
   * @returns its node; for a hard link, that of the file it is.
   * @throws KilnError with the code of the rule that is broken.
   */
  add(member: Member, offset: number): MemberNode {
    this.#count += 1;
    if (this.#count > this.#maxMembers) throw refuseCount(this.#maxMembers);
    const name = decodeText(member.name);
    const parts = parseName(name);
    const last = parts.pop();
    if (last === undefined) return this.#declareRoot(name, member);
    const folder = this.#openFolder(name, parts);
    const known = folder.children.get(last);
    if (known) return declareFolder(known, name, member);
    const node = this.#createNode(name, member, offset);
    this.#put(folder, last, node);
    return node;
  }

  #declareRoot(name: string, member: Member): FolderNode {
    if (member.type !== 'directory')
      throw refuse('ENTRY_NAME', name, 'names the root of the context and is no folder');
    return declareFolder(this.root, name, member);
  }

  /** The folder at a path; what is missing of it is made. */
  #openFolder(name: string, parts: readonly string[]): FolderNode {
    let folder = this.root;
    for (const [index, part] of parts.entries()) {
      let node = folder.children.get(part);
      if (!node) {
        this.#implied += 1;
        if (this.#implied > this.#maxMembers) throw refuseCount(this.#maxMembers);
        node = createFolder();
        this.#put(folder, part, node);
      }
      if (node.type !== 'directory') throw refusePlace(name, parts.slice(0, index + 1).join('/'), node);
      folder = node;
    }
    return folder;
  }

  #put(folder: FolderNode, part: string, node: MemberNode): void {
    const bytes = Buffer.from(part);
    this.#memory.take(bytes.length);
    // A copy: V8 would keep the whole path alive for a part of it.
    folder.children.set(bytes.toString(), node);
  }

  #createNode(name: string, { type, size, target }: Member, offset: number): MemberNode {
    if (type === 'directory') return { ...createFolder(), declared: true };
    if (type === 'file') return { type, offset, size, inode: 0 };
    const text = decodeText(target);
    if (type === 'hardlink') return this.#resolveHardlink(name, text);
    if (text === '' || text.includes('\0') || target.length > maxTargetBytes) {
      const what = `is a symbolic link whose target is empty, has a NUL or is longer than ${maxTargetBytes} bytes`;
      throw refuse('ENTRY_NAME', name, what);
    }
    this.#memory.take(target.length);
    return { type, target: text, inode: 0 };
  }

  /** A hard link is the file it names, which must have come before it. No symbolic link is followed on the way. */
  #resolveHardlink(name: string, target: string): FileNode {
    let node: MemberNode | undefined = target.startsWith('/') ? undefined : this.root;
    for (const part of splitPath(target))
      node = node?.type === 'directory' ? node.children.get(part) : undefined;
    if (node?.type === 'file') return node;
    const what = `is a hard link to '${printable(target)}', which is no earlier file of the archive`;
    throw refuse('HARDLINK_TARGET', name, what);
  }
}

/** The only member that may come to a place that is taken is a folder that was implied. */
function declareFolder(known: MemberNode, name: string, { type }: Member): FolderNode {
  if (known.type !== 'directory' || known.declared)
    throw refuse('ENTRY_DUPLICATE', name, 'is in the archive twice');
  if (type !== 'directory')
    throw refuse('ENTRY_CONFLICT', name, 'takes the place of a folder that has entries');
  known.declared = true;
  return known;
}

function refusePlace(name: string, parent: string, node: Exclude<MemberNode, FolderNode>): Error {
  if (node.type === 'file')
    return refuse('ENTRY_CONFLICT', name, `lies below '${printable(parent)}', which is a file`);
  const link = `'${printable(parent)}' → '${printable(node.target)}'`;
  const what = `would be written through the symbolic link ${link}. Links must stay inside the context`;
  return refuse('ENTRY_THROUGH_LINK', name, what);
}
