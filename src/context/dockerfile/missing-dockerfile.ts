import { printable } from '../../lib/text.ts';
import { Turns } from '../../lib/turns.ts';
import { KilnError } from '../../model/error.ts';
import { type FolderNode, find, walkFolders } from '../member-tree.ts';

const foldersPerTurn = 500;
/** What podman calls it. */
const otherName = 'Containerfile';

/** The error that says what there is in place of the Dockerfile that was asked for, by its normal path: each folder is searched for it. */
export async function refuseMissing(root: FolderNode, name: string): Promise<KilnError> {
  const start = `There is no Dockerfile at '${printable(name)}' in the context`;
  return new KilnError('DOCKERFILE_MISSING', `${start}; ${await findHint(root, name)}.`);
}

async function findHint(root: FolderNode, name: string): Promise<string> {
  if (isFile(root, otherName)) return `it has a ${otherName}: name it with dockerfile=${otherName}`;
  const only = await findOnlyFolder(root, name);
  if (only === null) return 'name it with dockerfile=PATH';
  return `the folder '${printable(only)}' has one: make that the context with context-dir=${printable(only)}`;
}

/** The one folder that would be a context with this Dockerfile, such as the only top folder of a forge's zip. */
async function findOnlyFolder(root: FolderNode, name: string): Promise<string | null> {
  const turns = new Turns(foldersPerTurn);
  let only: string | null = null;
  for (const { folder, path } of walkFolders(root)) {
    const turn = turns.step();
    if (turn) await turn;
    if (!isFile(folder, name) && !isFile(folder, name.replace(/(^|\/)Dockerfile$/, '$1dockerfile'))) continue;
    if (only !== null) return null;
    only = path.slice(0, -1);
  }
  return only;
}

function isFile(root: FolderNode, path: string): boolean {
  return find(root, path)?.place.type === 'file';
}
