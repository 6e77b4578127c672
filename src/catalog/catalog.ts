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
  /** How it goes on from another one, whose pins and capabilities it has; null for an entry of the archive. */
  readonly derivation: Derivation | null;
};

/** An entry's own Dockerfile, which goes on from the ctr image of an entry of the archive. */
export type Derivation = {
  /** The name of that entry, such as `buildkit-v0.20.2`. */
  readonly base: string;
  /** What its `FROM` says: `ctr_buildkit-v0.20.2`, which is the one that kiln makes, or one in a registry. */
  readonly reference: string;
  /** Of the Dockerfile, and its context. */
  readonly directory: string;
};

const nearestShown = 3;

/**
 * The archive: the folders `buildkit/vX.Y.Z` of the project's images/ folder, oldest BuildKit first.
 * @throws KilnError CONFIG_INVALID where a folder is not named by its version or its `.env` is not whole
 */
export async function listArchive(imagesDirectory: string): Promise<Entry[]> {
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
  const found = entries.find(
    ({ name, pins, derivation }) => asked === name || (!derivation && asked === pins.BUILDKIT_VERSION),
  );
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
    derivation: null,
  };
}

/** For what is no version at all: those that have other names, and the newest. */
function nearestTo(entries: readonly Entry[], asked: string): Entry[] {
  const version = parseVersion(asked.replace(/^buildkit-/, '').replace(/^v?/, 'v'));
  const [archive, derived] = [entries.filter(isOfArchive), entries.filter((entry) => !isOfArchive(entry))];
  if (!version)
    return [...derived.slice(0, nearestShown - 1), ...archive.toReversed()].slice(0, nearestShown);
  const distance = (other: Version): Version => [
    Math.abs(other[0] - version[0]),
    Math.abs(other[1] - version[1]),
    Math.abs(other[2] - version[2]),
  ];
  return archive
    .toSorted((a, b) => compareVersions(distance(a.version), distance(b.version)))
    .slice(0, nearestShown);
}

function isOfArchive({ derivation }: Entry): boolean {
  return derivation === null;
}
