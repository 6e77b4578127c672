import type { FrozenPooledVm, PooledVm } from '../../src/pool/pool.ts';

export type SimulatedFleet = {
  create(entry: string, signal: AbortSignal): Promise<FrozenPooledVm<EntryVm>>;
  /** Those that were not destroyed, by id, with their entries. */
  readonly alive: ReadonlyMap<string, string>;
  /** Entries of which no VM can be made. */
  readonly broken: Set<string>;
  /** The most that were alive at once. */
  readonly most: () => number;
  kill(id: string): void;
};

export type EntryVm = PooledVm & { readonly entry: string };

/** Simulated VMs of many entries: they only count. Each takes some turns of the event loop to be made and to go. */
export function simulateFleet(): SimulatedFleet {
  const alive = new Map<string, string>();
  const ends = new Map<string, (reason: string) => void>();
  const broken = new Set<string>();
  let made = 0;
  let most = 0;
  return {
    ...{ alive, broken },
    most: () => most,
    kill: (id) => ends.get(id)?.('killed'),
    async create(entry) {
      await turn();
      if (broken.has(entry)) throw new Error(`no VM of ${entry} today`);
      made += 1;
      const id = `vm-${made}`;
      alive.set(id, entry);
      most = Math.max(most, alive.size);
      const gone = new Promise<string>((resolve) => ends.set(id, resolve));
      const end = async (): Promise<void> => {
        await turn();
        alive.delete(id);
      };
      const vm: EntryVm = { id, entry, gone, [Symbol.asyncDispose]: end };
      const wake = async (): Promise<EntryVm> => {
        await turn();
        return vm;
      };
      return { ...vm, wake };
    },
  };
}

/** Everything that waits for nothing but the event loop has happened after a few of these. */
export const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
