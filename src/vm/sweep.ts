import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeQuietly } from '../lib/files.ts';
import { processName } from './template.ts';

const exitPollMs = 20;

/**
 * Removes what an earlier run of this installation left behind: its QEMU processes, found by their exact name, and the
 * folders of its VMs. Processes of other installations and decoys with similar names stay.
 */
export async function sweepVms(
  setup: { readonly installation: string; readonly vmsDirectory: string },
  signal: AbortSignal,
): Promise<{ processes: number; folders: number }> {
  const pids = await findProcesses(processName(setup.installation));
  for (const pid of pids) killIfThere(pid);
  while ((await findProcesses(processName(setup.installation))).length > 0) {
    await sleep(exitPollMs, undefined, { signal });
  }
  const folders = await readdir(setup.vmsDirectory);
  await Promise.all(folders.map((name) => removeQuietly(join(setup.vmsDirectory, name))));
  return { processes: pids.length, folders: folders.length };
}

async function findProcesses(prefix: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => ((await isOurs(pid, prefix)) ? Number(pid) : null)),
  );
  return found.filter((pid) => pid !== null);
}

async function isOurs(pid: string, prefix: string): Promise<boolean> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  const isQemu = words.some((word, index) => index < 16 && /(^|\/)qemu-system-/.test(word));
  return isQemu && (words[words.indexOf('-name') + 1]?.startsWith(prefix) ?? false);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended on its own in between.
  }
}
