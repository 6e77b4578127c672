/**
 * The names of a context as a tree, the only place where they are kept: the rules check new members against it, the Dockerfile is looked
 * up in it, and the image's folders are written from it. `inode` is where the image describes a node; 0 until it does.
 */
export type MemberNode = FileNode | SymlinkNode | FolderNode;

/** Under several names where there are hard links to it. */
export type FileNode = {
  readonly type: 'file';
  /** Where its content begins in the staged image, in bytes. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  inode: number;
};

/** Under several names, too. */
export type SymlinkNode = { readonly type: 'symlink'; readonly target: string; inode: number };

export type FolderNode = {
  readonly type: 'directory';
  readonly children: Map<string, Place>;
  /** Whether a member of the archive describes it. Others are only named as the folder of a member. */
  declared: boolean;
  inode: number;
};

/** Where the archive has a device, FIFO or socket, and the image nothing: only its name is known. */
export type LeftOut = { readonly type: 'special' };
export const leftOut: LeftOut = { type: 'special' };

/** What is at a path. */
export type Place = MemberNode | LeftOut;

export function createFolder(): FolderNode {
  return { type: 'directory', children: new Map(), declared: false, inode: 0 };
}

/** As many as Linux follows. */
const maxLinks = 40;

/** What a path leads to, and by which folders: the names from the root to it, no link among them. */
export type Found = { readonly place: Exclude<Place, SymlinkNode>; readonly path: readonly string[] };

/**
 * What is at a path, symbolic links within the context followed part by part as the guest's kernel would; null when there is nothing,
 * or it lies outside.
 */
export function find(root: FolderNode, path: string): Found | null {
  const above: { readonly folder: FolderNode; readonly name: string }[] = [];
  let folder = root;
  const ahead = path.split('/');
  let links = 0;
  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      const parent = above.pop();
      if (!parent) return null;
      folder = parent.folder;
      continue;
    }
    const node = folder.children.get(part);
    if (!node) return null;
    if (node.type === 'symlink') {
      links += 1;
      if (links > maxLinks || node.target.startsWith('/')) return null;
      ahead.unshift(...node.target.split('/'));
      continue;
    }
    above.push({ folder, name: part });
    if (node.type === 'directory') folder = node;
    else return ahead.length === 0 ? { place: node, path: above.map(({ name }) => name) } : null;
  }
  return { place: folder, path: above.map(({ name }) => name) };
}

export type VisitedFolder = {
  readonly folder: FolderNode;
  /** The root is its own. */
  readonly parent: FolderNode;
  /** Empty for the root, else ending in a slash. */
  readonly path: string;
};

/** Each folder, before those in it. */
export function* walkFolders(root: FolderNode): Generator<VisitedFolder> {
  yield { folder: root, parent: root, path: '' };
  const open = [{ folder: root, path: '', rest: root.children.entries() }];
  for (let last = open.at(-1); last; last = open.at(-1)) {
    const { done, value } = last.rest.next();
    if (done) {
      open.pop();
      continue;
    }
    const [name, folder] = value;
    if (folder.type !== 'directory') continue;
    const path = `${last.path}${name}/`;
    yield { folder, parent: last.folder, path };
    open.push({ folder, path, rest: folder.children.entries() });
  }
}
