import { printable } from '../lib/text.ts';
import type { ContextPaths, DockerfilePolicy, NamedArchive, SealedContexts } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { checkContextDockerfile, checkContextDockerignore } from './dockerfile/context-dockerfile.ts';
import { createFolder, type FolderNode, find } from './member-tree.ts';
import { addIngestFolder, findImage } from './oci-layout.ts';
import { ofContext } from './of-context.ts';
import type { StagedArchive } from './stage-archive.ts';

/** The archives of a build, with their contents in the image at `path`. */
export type StagedContexts = {
  readonly path: string;
  readonly main: StagedArchive | null;
  readonly named: ReadonlyMap<string, StagedArchive>;
};

/** What is sealed, and the folders that the image's root has. */
type Checked = Omit<SealedContexts, 'path' | typeof Symbol.asyncDispose> & {
  readonly folders: ReadonlyMap<string, FolderNode>;
};

const mainFolder = 'context';

/** Checks what can be checked once all names are known, and gives each context its folder. @throws KilnError, those of `seal` */
export async function checkContexts(
  { path, main, named }: StagedContexts,
  paths: ContextPaths,
  policy: DockerfilePolicy,
): Promise<Checked> {
  const root = main?.root ?? createFolder();
  const folders = new Map([[mainFolder, root]]);
  const { frontend, warnings, directory } = await checkMain({ path, root }, paths, policy);
  const archives: NamedArchive[] = [];
  for (const [name, archive] of named) {
    const folder = `${archives.length + 1}`;
    folders.set(folder, archive.root);
    archives.push(await ofContext(name, () => checkNamed(path, name, archive, folder)));
  }
  const summary = main && { ...main.summary, warnings: [...main.summary.warnings, ...warnings] };
  return { folders, directory, summary, named: archives, frontend };
}

type Found = Awaited<ReturnType<typeof checkContextDockerfile>> & { readonly directory: string };

async function checkMain(
  { path, root }: { path: string; root: FolderNode },
  { dockerfile, contextDir = '' }: ContextPaths,
  policy: DockerfilePolicy,
): Promise<Found> {
  const context = findContext(root, contextDir);
  const directory = [mainFolder, ...context.path].join('/');
  const tree = { path, root: context.folder };
  if (dockerfile !== null) return { ...(await checkContextDockerfile(tree, dockerfile, policy)), directory };
  return { frontend: null, warnings: await checkContextDockerignore(tree), directory };
}

/** The folder that is the context. Its path has no links: whoever opens it in the guest must not be led elsewhere. */
function findContext(root: FolderNode, path: string): { folder: FolderNode; path: readonly string[] } {
  const found = find(root, path);
  if (found?.place.type === 'directory') return { folder: found.place, path: found.path };
  const message = `There is no folder '${printable(path)}' in the archive; context-dir names the one that is the context.`;
  throw new KilnError('PARAM_INVALID', message, { details: { field: 'contextDir' } });
}

async function checkNamed(
  path: string,
  name: string,
  { root, summary }: StagedArchive,
  directory: string,
): Promise<NamedArchive> {
  const imageDigest = await findImage({ path, root });
  if (imageDigest !== null) {
    addIngestFolder({ root });
    return { name, directory, imageDigest, summary };
  }
  // BuildKit applies the one in its root, as it does to a folder that buildx is given.
  const warnings = await checkContextDockerignore({ path, root });
  return {
    name,
    directory,
    imageDigest,
    summary: { ...summary, warnings: [...summary.warnings, ...warnings] },
  };
}
