import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import { type Capabilities, capabilitiesOf } from './capabilities.ts';
import { type EntryState, type Pins, parsePins } from './pins.ts';
import { compareVersions, parseVersion, type Version } from './version.ts';

/** One exact BuildKit, runc and kernel: what a VM image is made from. */
export type Entry = {
  /** Such as `buildkit-v0.20.2`. */
  readonly name: string;
  readonly version: Version;
  readonly state: EntryState;
  readonly pins: Pins;
  readonly capabilities: Capabilities;
};

const nearestShown = 3;

/**
 * The catalog: the folders `buildkit/vX.Y.Z` of the project's images/ folder, oldest BuildKit first.
 * @throws KilnError CONFIG_INVALID where a folder is not named by its version or its `.env` is not whole
 */
export async function listEntries(imagesDirectory: string): Promise<Entry[]> {
  const family = join(imagesDirectory, 'buildkit');
  const folders = (await readdir(family, { withFileTypes: true })).filter((item) => item.isDirectory());
  const entries = await Promise.all(folders.map(({ name }) => readEntry(join(family, name), name)));
  return entries.sort((a, b) => compareVersions(a.version, b.version));
}

/**
 * @param asked What a caller sent: an entry's name, or its BuildKit's version alone. It is looked up, and never becomes a path.
 * @throws KilnError BUILDKIT_UNKNOWN with the entries that are nearest
 */
export function findEntry(entries: readonly Entry[], asked: string): Entry {
  const found = entries.find(({ name, pins }) => asked === name || asked === pins.BUILDKIT_VERSION);
  if (found) return found;
  const nearest = nearestTo(entries, asked).map(({ name }) => name);
  throw new KilnError(
    'BUILDKIT_UNKNOWN',
    `There is no archive entry ${printable(asked)}; the nearest: ${nearest.join(', ')}.`,
    { details: { field: 'entry' } },
  );
}

async function readEntry(folder: string, folderName: string): Promise<Entry> {
  const path = join(folder, '.env');
  const { pins, state } = parsePins(await readFile(path, 'utf8'), path);
  const version = parseVersion(pins.BUILDKIT_VERSION);
  if (!version || pins.BUILDKIT_VERSION !== folderName) {
    throw new KilnError(
      'CONFIG_INVALID',
      `${path}: BUILDKIT_VERSION is ${pins.BUILDKIT_VERSION}; it must be a version, and the folder's name.`,
    );
  }
  return {
    name: `buildkit-${folderName}`,
    ...{ version, state, pins },
    capabilities: capabilitiesOf(version),
  };
}

/** For what is no version at all: the newest. */
function nearestTo(entries: readonly Entry[], asked: string): Entry[] {
  const version = parseVersion(asked.replace(/^buildkit-/, '').replace(/^v?/, 'v'));
  if (!version) return entries.slice(-nearestShown).reverse();
  const distance = (other: Version): Version => [
    Math.abs(other[0] - version[0]),
    Math.abs(other[1] - version[1]),
    Math.abs(other[2] - version[2]),
  ];
  return entries
    .toSorted((a, b) => compareVersions(distance(a.version), distance(b.version)))
    .slice(0, nearestShown);
}
