import { KilnError } from '../model/error.ts';
import type { ProcessUser } from './launcher.ts';

/**
 * The users QEMU runs as when kiln is root: one for making templates, another with a group of its own for each living VM, so
 * that not even a guest that broke out of QEMU reaches the files of the next VM. What all VMs may read, the template's RAM, is
 * of the template's group. The range is unused by Debian (policy 9.2.2) and needs no accounts. When kiln is not root every
 * QEMU runs as kiln's own user.
 */
export type ProcessUsers = {
  readonly template: ProcessUser;
  /** Gives a user no living VM has; `release` gives it back. */
  acquire(): { readonly user: ProcessUser; release(): void };
};

const firstId = 58_000;
const vmUsers = 1000;

export function createProcessUsers(asRoot: boolean): ProcessUsers {
  if (!asRoot) return { template: null, acquire: () => ({ user: null, release: () => undefined }) };
  const taken = new Set<number>();
  return {
    template: { uid: firstId, gid: firstId },
    acquire() {
      const uid = firstFree(taken);
      taken.add(uid);
      return { user: { uid, gid: uid, group: firstId }, release: () => void taken.delete(uid) };
    },
  };
}

function firstFree(taken: ReadonlySet<number>): number {
  for (let uid = firstId + 1; uid <= firstId + vmUsers; uid += 1) {
    if (!taken.has(uid)) return uid;
  }
  throw new KilnError('NO_CAPACITY', `More than ${vmUsers} VMs at once are not possible.`);
}
