import { removeQuietly } from '../lib/files.ts';
import { printable } from '../lib/text.ts';
import type { ContextSummary } from '../model/build.ts';
import type { SealedContext, StagedContext } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { checkContextDockerfile, checkContextDockerignore } from './dockerfile/context-dockerfile.ts';
import { type FolderNode, find } from './member-tree.ts';

type Image = { readonly path: string; readonly summary: ContextSummary };

/** Takes the image at `path`, whose names are the tree at `root`; `memory` is disposed once that is let go. */
export function createStagedContext({
  root,
  memory,
  ...image
}: Image & { root: FolderNode; memory: Disposable }): StagedContext {
  let held: FolderNode | null = root;
  return {
    summary: image.summary,
    async seal({ dockerfile, contextDir = '' }, policy) {
      if (!held) throw new Error('This context was sealed or removed before.');
      const tree = held;
      held = null;
      using _memory = memory;
      await using undo = new AsyncDisposableStack();
      undo.defer(() => removeQuietly(image.path));
      const { folder, directory } = findContext(tree, contextDir);
      const found = await checkBuildFiles({ path: image.path, root: folder }, dockerfile, policy);
      undo.move();
      return createSealedContext(image, directory, found);
    },
    async [Symbol.asyncDispose]() {
      if (!held) return;
      held = null;
      memory[Symbol.dispose]();
      await removeQuietly(image.path);
    },
  };
}

/** The folder that is the context. Its path has no links: whoever opens it in the guest must not be led elsewhere. */
function findContext(root: FolderNode, path: string): { folder: FolderNode; directory: string } {
  const found = find(root, path);
  if (found?.place.type === 'directory') return { folder: found.place, directory: found.path.join('/') };
  const message = `There is no folder '${printable(path)}' in the archive; context-dir names the one that is the context.`;
  throw new KilnError('PARAM_INVALID', message, { details: { field: 'contextDir' } });
}

type Found = Awaited<ReturnType<typeof checkContextDockerfile>>;

async function checkBuildFiles(
  image: Parameters<typeof checkContextDockerfile>[0],
  dockerfile: string | null,
  policy: Parameters<typeof checkContextDockerfile>[2],
): Promise<Found> {
  if (dockerfile !== null) return checkContextDockerfile(image, dockerfile, policy);
  return { frontend: null, warnings: await checkContextDockerignore(image) };
}

/** Apart from what is staged, so that nothing of its tree is kept. */
function createSealedContext(
  { path, summary }: Image,
  directory: string,
  { frontend, warnings }: Found,
): SealedContext {
  return {
    ...{ path, directory, frontend },
    summary: { ...summary, warnings: [...summary.warnings, ...warnings] },
    [Symbol.asyncDispose]: () => removeQuietly(path),
  };
}
