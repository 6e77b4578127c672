import { readdir } from 'node:fs/promises';
import { askModule, downloadModule, ModuleMissing } from './go.ts';

const toolchainModule = 'golang.org/toolchain';
/** Holds a program for each Go release there is, and so their names. */
const releasesModule = 'golang.org/dl';

export type Release = { readonly name: string; readonly time: Date | null };
export type Choice = { readonly name: string; readonly exact: boolean };

/** The Go toolchain that a release of `day` was built with, by the line that its Dockerfile names. */
export type Toolchain = Choice & { readonly hash: string };

/** @throws ModuleMissing where no toolchain of the line is served */
export async function findToolchain(line: string, day: Date): Promise<Toolchain> {
  const { names, complete } = await namesOfLine(line, day);
  const releases: Release[] = [];
  for (const name of names) releases.push({ name, time: await timeOf(name) });
  for (;;) {
    const choice = chooseRelease(releases, day);
    if (!choice) throw new ModuleMissing(`${toolchainModule}: no toolchain of Go ${line} is served`);
    const hash = await hashOf(choice.name);
    if (hash) return { name: choice.name, exact: choice.exact && complete, hash };
    // Its time is told, but it is not served.
    releases.splice(names.indexOf(choice.name), 1, { name: choice.name, time: null });
  }
}

/**
 * The newest that was there on that day. Not every release is served (`time` null): where one that is not may have been the newest,
 * the nearest in time is taken, and the choice is not exact.
 * @param releases of one line, oldest first
 */
export function chooseRelease(releases: readonly Release[], day: Date): Choice | null {
  const distance = ({ time }: Release): number => Math.abs((time?.getTime() ?? Infinity) - day.getTime());
  const before = releases.findLastIndex(({ time }) => time !== null && time <= day);
  const newest = releases[before];
  const next = releases[before + 1];
  if (newest && (!next || next.time !== null)) return { name: newest.name, exact: true };
  const [nearest] = releases.filter(({ time }) => time !== null).sort((a, b) => distance(a) - distance(b));
  return nearest ? { name: nearest.name, exact: false } : null;
}

/**
 * Names of the releases of a line, oldest first: go1.20, go1.20.1 … (from 1.21 on the first is go1.21.0); `complete` where the
 * list that is served is not older than that day.
 */
async function namesOfLine(line: string, day: Date): Promise<{ names: string[]; complete: boolean }> {
  const { Version: version, Time: time } = await askModule(releasesModule, 'latest');
  const { directory } = await downloadModule(releasesModule, version);
  const patchOf = (name: string): number => Number(name.split('.')[2] ?? 0);
  const names = (await readdir(directory)).filter((name) => new RegExp(`^go${line}(\\.\\d+)?$`).test(name));
  names.sort((a, b) => patchOf(a) - patchOf(b));
  return { names, complete: time !== undefined && time >= day };
}

async function timeOf(name: string): Promise<Date | null> {
  const asked = await unlessMissing(askModule(toolchainModule, versionOf(name)));
  return asked?.Time ?? null;
}

async function hashOf(name: string): Promise<string | null> {
  const downloaded = await unlessMissing(downloadModule(toolchainModule, versionOf(name)));
  return downloaded?.hash ?? null;
}

async function unlessMissing<T>(module: Promise<T>): Promise<T | null> {
  try {
    return await module;
  } catch (error) {
    if (error instanceof ModuleMissing) return null;
    throw error;
  }
}

function versionOf(name: string): string {
  return `v0.0.1-${name}.linux-amd64`;
}
