import { printable } from '../lib/text.ts';
import { type Member, maxTargetBytes, refuse } from './member.ts';
import type { MemberCount } from './member-count.ts';
import { decodeText, parseName, splitPath } from './member-name.ts';
import { createFolder, type FolderNode, leftOut, type MemberNode, type Place } from './member-tree.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { Warnings } from './warnings.ts';

/** It reaches the guest, and BuildKit loses it: it sets a file's owner after its xattrs, which takes it away (fsutil's disk writer). */
const capability = 'security.capability';

/** What a member is in the tree. */
export type Placement = {
  /** Of a hard link, the file or link that it is. */
  readonly node: MemberNode;
  /** What had this name before. */
  readonly replaced: MemberNode | null;
};

export type RulesOptions = {
  /** Of all archives of a build. */
  readonly members: MemberCount;
  /** Whether a name may come again; the last member of a name counts, as for every reader of tars. */
  readonly mayRepeat: boolean;
  readonly memory: MemoryBudget;
  readonly warnings: Warnings;
};

/**
 * What a context may hold: no name that leaves it, none that is written through a link, none of two kinds. Checked for each member
 * before its content comes; the same for tar and zip.
 */
export class MemberRules {
  /** The tree of all members that passed. */
  readonly root = createFolder();
  readonly #options: RulesOptions;
  #count = 0;

  constructor(options: RulesOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Checks a member and gives it its place in the tree.
   * @param offset where its content would begin in the staged image, in bytes
   * @returns null where the image stays as it is: the member is left out, or a hard link to itself
   * @throws KilnError with the code of the rule that is broken.
   */
  add(member: Member, offset: number): Placement | null {
    this.#count += 1;
    this.#options.members.add('described');
    this.#options.memory.takeFor(member.type);
    const name = this.#readName(member.name);
    const parts = parseName(name);
    const last = parts.pop();
    if (last === undefined) return this.#declareRoot(name, member);
    const folder = this.#openFolder(name, parts);
    const known = folder.children.get(last);
    if (known) this.#checkRepeat(known, name, member);
    if (known?.type === 'directory') return declareFolder(known);
    const place = this.#createPlace(name, member, offset);
    if (known && known.type !== place.type) throw refuseConflict(known, name);
    this.#put(folder, last, place);
    if (place.type === 'special') {
      this.#options.warnings.note('special', name);
      return null;
    }
    if (known === place) return null;
    if (member.metadata.xattrs.some(({ name: key }) => key === capability))
      this.#options.warnings.note('capability', name);
    return { node: place, replaced: known && known.type !== 'special' ? known : null };
  }

  #readName(bytes: Buffer): string {
    const text = decodeText(bytes);
    if (!text.startsWith('/')) return text;
    this.#options.warnings.note('absolute', text);
    return withoutSlashes(text);
  }

  #declareRoot(name: string, member: Member): Placement {
    if (member.type !== 'directory')
      throw refuse('ENTRY_NAME', name, 'names the root of the context and is no folder');
    this.#checkRepeat(this.root, name, member);
    return declareFolder(this.root);
  }

  #checkRepeat(known: Place, name: string, { type }: Member): void {
    if ((known.type === 'directory') !== (type === 'directory')) throw refuseConflict(known, name);
    // A folder that was only named so far is described now.
    if (known.type === 'directory' && !known.declared) return;
    if (!this.#options.mayRepeat) throw refuse('ENTRY_DUPLICATE', name, 'is in the archive twice');
    this.#options.warnings.note('again', name);
  }

  /** The folder at a path; what is missing of it is made. */
  #openFolder(name: string, parts: readonly string[]): FolderNode {
    let folder = this.root;
    for (const [index, part] of parts.entries()) {
      let node = folder.children.get(part);
      if (!node) {
        this.#options.members.add('implied');
        this.#options.memory.takeFor('directory');
        node = createFolder();
        this.#put(folder, part, node);
      }
      if (node.type !== 'directory') throw refusePlace(name, parts.slice(0, index + 1).join('/'), node);
      folder = node;
    }
    return folder;
  }

  #put(folder: FolderNode, part: string, place: Place): void {
    const bytes = Buffer.from(part);
    if (!folder.children.has(part)) this.#options.memory.take(bytes.length);
    // A copy: V8 would keep the whole path alive for a part of it.
    folder.children.set(bytes.toString(), place);
  }

  #createPlace(name: string, { type, size, target }: Member, offset: number): Place {
    if (type === 'special') return leftOut;
    if (type === 'directory') return { ...createFolder(), declared: true };
    if (type === 'file') return { type, offset, size, inode: 0 };
    const text = decodeText(target);
    if (type === 'hardlink') return this.#resolveHardlink(name, text);
    if (text === '' || text.includes('\0') || target.length > maxTargetBytes) {
      const what = `is a symbolic link whose target is empty, has a NUL or is longer than ${maxTargetBytes} bytes`;
      throw refuse('ENTRY_NAME', name, what);
    }
    this.#options.memory.take(target.length);
    return { type, target: text, inode: 0 };
  }

  /** A hard link is the file or link it names, which must have come before it. No symbolic link is followed on the way. */
  #resolveHardlink(name: string, target: string): Place {
    let place: Place | undefined = this.root;
    for (const part of splitPath(target))
      place = place?.type === 'directory' ? place.children.get(part) : undefined;
    if (place && place.type !== 'directory') return place;
    const what = `is a hard link to '${printable(target)}', which is no earlier file of the archive`;
    throw refuse('HARDLINK_TARGET', name, what);
  }
}

/** `/` itself is the root. */
function withoutSlashes(name: string): string {
  return name.replace(/^\/+/, '') || '.';
}

function declareFolder(folder: FolderNode): Placement {
  folder.declared = true;
  return { node: folder, replaced: null };
}

const kinds = {
  file: 'file',
  symlink: 'symbolic link',
  directory: 'folder',
  special: 'device, FIFO or socket',
};

function refuseConflict({ type }: Place, name: string): Error {
  return refuse('ENTRY_CONFLICT', name, `takes the place of something else, a ${kinds[type]}`);
}

function refusePlace(name: string, parent: string, place: Exclude<Place, FolderNode>): Error {
  if (place.type !== 'symlink')
    return refuse(
      'ENTRY_CONFLICT',
      name,
      `lies below '${printable(parent)}', which is a ${kinds[place.type]}`,
    );
  const link = `'${printable(parent)}' → '${printable(place.target)}'`;
  const what = `would be written through the symbolic link ${link}. Links must stay inside the context`;
  return refuse('ENTRY_THROUGH_LINK', name, what);
}
