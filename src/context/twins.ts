import { printable } from '../lib/text.ts';
import { Turns } from '../lib/turns.ts';
import { type FolderNode, walkFolders } from './member-tree.ts';

const maxWarnings = 20;
const namesPerTurn = 2000;

/** A warning for each name that differs from another of its folder only in case or Unicode form: the guest keeps both, other file systems cannot. */
export async function findTwins(root: FolderNode): Promise<string[]> {
  const warnings: string[] = [];
  const turns = new Turns(namesPerTurn);
  for (const { folder, path } of walkFolders(root)) {
    /** Of the names that are not their own folded form. */
    const folded = new Set<string>();
    for (const [name, { type }] of folder.children) {
      if (type === 'special') continue;
      const turn = turns.step();
      if (turn) await turn;
      const form = fold(name);
      if (form === name) continue;
      if (folded.has(form) || folder.children.has(form)) {
        const twin = printable(`${path}${name}`);
        warnings.push(`'${twin}' differs from another entry only in case or Unicode form.`);
        if (warnings.length === maxWarnings) return warnings;
      }
      folded.add(form);
    }
  }
  return warnings;
}

/** The same for names that differ only in case or Unicode form. Most names are folded as they are. */
function fold(name: string): string {
  return /[A-Z\u0080-\uffff]/.test(name) ? name.normalize('NFC').toUpperCase().toLowerCase() : name;
}
