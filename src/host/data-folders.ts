import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { readIfThere, removeQuietly } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';

/** Where each kind of data lies, below the data folder. */
export type DataFolders = Readonly<Record<(typeof names)[number], string>>;

const names = [
  'vms',
  'templates',
  'seals',
  'images',
  'builds',
  'operations',
  'artifacts',
  'staging',
] as const;
/** Their contents are for kiln alone. */
const privateNames = ['seals', 'images', 'builds', 'operations', 'artifacts', 'staging'] as const;

/** QEMU runs as other users when kiln is root: they may pass through, and see nothing but what is theirs. */
const passThrough = 0o711;

/** QEMU opens files in both, as a user of its own when kiln is root. */
export type Folders = {
  readonly asRoot: boolean;
  readonly dataDirectory: string;
  readonly cacheDirectory: string;
};

/**
 * Refuses folders that QEMU's users cannot come to, as they lie within one that is closed to others (`/root`).
 * @throws KilnError CONFIG_INVALID
 */
export async function requirePassable({ asRoot, dataDirectory, cacheDirectory }: Folders): Promise<void> {
  if (!asRoot) return;
  await requirePassableTo(dataDirectory, 'KILN_DATA_DIR');
  await requirePassableTo(cacheDirectory, 'KILN_CACHE_DIR');
}

async function requirePassableTo(folder: string, setting: string): Promise<void> {
  const others = 0o001;
  for (const above of foldersAbove(resolve(folder))) {
    const there = await stat(above).catch(() => null);
    if (!there?.isDirectory() || (there.mode & others) !== 0) continue;
    throw new KilnError(
      'CONFIG_INVALID',
      `${setting}: ${folder} lies in ${above}, which only its owner may enter, and QEMU runs as a user of its own. Choose a folder elsewhere, such as one in /var/lib.`,
    );
  }
}

function foldersAbove(folder: string): string[] {
  const above = dirname(folder);
  return above === folder ? [] : [...foldersAbove(above), above];
}

/** Makes the data folder itself. Harmless beside another kiln that runs on it, and so the one thing done before its lock is held. */
export async function createDataFolder(data: string): Promise<void> {
  await mkdir(data, { recursive: true, mode: passThrough });
}

/**
 * Makes the folders below the data folder, and empties `staging`: contexts that an earlier run of the service was sent. Only for
 * who holds the data folder's lock, as these would be the contexts of a running service.
 */
export async function prepareDataFolders(data: string): Promise<DataFolders> {
  const paths = names.map((name) => [name, join(data, name)] as const);
  const folders = Object.fromEntries(paths) as DataFolders;
  await removeQuietly(folders.staging);
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: passThrough });
  await Promise.all(privateNames.map((name) => chmod(folders[name], 0o700)));
  return folders;
}

/**
 * The name that marks what belongs to this installation, so that a sweep takes nothing else. Made at the first start, and anew for
 * a copy of the folder: whoever starts that beside the original would sweep away its VMs.
 */
export async function ensureInstallationId(data: string): Promise<string> {
  const path = join(data, 'installation-id');
  const [id = '', madeFor] = ((await readIfThere(path)) ?? '').split('\n');
  // A file that a power failure left empty names nothing.
  if (id !== '' && madeFor === (await identify(path))) return id;
  return makeId(path);
}

/** Under another name first: whoever reads `path` finds all of it or nothing. */
async function makeId(path: string): Promise<string> {
  const id = randomBytes(8).toString('hex');
  const unfinished = `${path}.new`;
  {
    await using file = await open(unfinished, 'w', 0o600);
    await file.writeFile(`${id}\n${await identify(unfinished)}\n`);
    await file.sync();
  }
  await rename(unfinished, path);
  return id;
}

/** What a file keeps when it is renamed, and no copy of it has. */
async function identify(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
}
