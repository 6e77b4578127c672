import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readIfThere } from '../lib/files.ts';
import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';
import type { Derivation, Entry } from './catalog.ts';

/** It becomes part of tags, of names of files and of images: none of the archive's can look so, and none of them is a path. */
const namePattern = /^(?!buildkit-|ctr-)[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const maxNameLength = 40;

const fromLine = /^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)/gim;
/** Such as `ctr_buildkit-v0.20.2` or `registry.example.org:5000/archive:ctr_buildkit-v0.20.2_v0.1.0@sha256:…`. */
const ctrReference = /(?:^|:)ctr_(buildkit-v[\d.]+?)(?:_v[\d.]+)?(?:@sha256:[0-9a-f]{64})?$/;

/**
 * The entries that somebody derived from the archive's, by name: each a folder that holds a Dockerfile and its context.
 * @param directory KILN_ENTRIES_DIR. What begins with a dot in it, and files, are not looked at.
 * @param archive The entries that they may derive from.
 * @throws KilnError CONFIG_INVALID naming the folder, and what it must hold
 */
export async function listDerivedEntries(directory: string, archive: readonly Entry[]): Promise<Entry[]> {
  const names = await readFolderNames(directory);
  return Promise.all(names.map((name) => readDerivedEntry(name, join(directory, name), archive)));
}

async function readFolderNames(directory: string): Promise<string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => !name.startsWith('.')).toSorted();
    // A volume of Kubernetes has links to its folders.
    const isFolder = await Promise.all(
      names.map(async (name) => (await stat(join(directory, name))).isDirectory()),
    );
    return names.filter((_, index) => isFolder[index]);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new KilnError('CONFIG_INVALID', `KILN_ENTRIES_DIR cannot be read: ${why}.`, { cause });
  }
}

async function readDerivedEntry(name: string, directory: string, archive: readonly Entry[]): Promise<Entry> {
  if (!namePattern.test(name) || name.length > maxNameLength) {
    throw invalid(
      directory,
      `is no name of an entry: small letters, digits and single hyphens, at most ${maxNameLength}, and neither buildkit-… nor ctr-…`,
    );
  }
  const path = join(directory, 'Dockerfile');
  const dockerfile = await readIfThere(path);
  if (dockerfile === null) throw invalid(directory, 'holds no Dockerfile');
  const { base, reference } = findBase(dockerfile, path);
  const entry = archive.find((one) => one.name === base);
  if (!entry) throw invalid(path, `derives from ${base}, of which there is no archive entry`);
  // What it adds has been tested by nobody, whatever was of its base.
  return { ...entry, name, state: 'unbuilt', derivation: { base, reference, directory } };
}

function findBase(dockerfile: string, path: string): Pick<Derivation, 'base' | 'reference'> {
  const found = new Map<string, string>();
  for (const [, reference = ''] of dockerfile.matchAll(fromLine)) {
    const base = ctrReference.exec(reference)?.[1];
    if (base !== undefined) found.set(reference, base);
  }
  const [[reference, base] = [], ...others] = [...found];
  if (reference !== undefined && base !== undefined && others.length === 0) return { reference, base };
  throw invalid(
    path,
    others.length > 0
      ? `derives from several ctr images: ${printable([...found.keys()].join(', '))}`
      : 'derives from no ctr image; one of its lines must be like FROM ctr_buildkit-v0.20.2',
  );
}

function invalid(path: string, how: string): KilnError {
  return new KilnError('CONFIG_INVALID', `KILN_ENTRIES_DIR: ${printable(path)} ${how}.`);
}
