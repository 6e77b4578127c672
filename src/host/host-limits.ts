import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';

/** What the machine, or the container, lets this process have. */
export type HostLimits = {
  /** Open files at once. */
  readonly openFiles: number;
  /** Memory of the machine, or of the container where that has less. */
  readonly memoryBytes: number;
};

export async function readHostLimits(): Promise<HostLimits> {
  // What `ulimit -n` says, which Node raises to the hard limit as it starts.
  const limits = await readFile('/proc/self/limits', 'utf8');
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return {
    openFiles: soft === undefined ? Number.MAX_SAFE_INTEGER : Number(soft),
    memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  };
}
