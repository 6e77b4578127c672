import { removeQuietly } from '../lib/files.ts';
import type { ContextSummary } from '../model/build.ts';
import type { SealedContext, StagedContext } from '../model/context.ts';
import { checkContextDockerfile, checkContextDockerignore } from './dockerfile/context-dockerfile.ts';
import type { FolderNode } from './member-tree.ts';

type Image = { readonly path: string; readonly summary: ContextSummary };

/** Takes the image at `path`, whose names are the tree at `root`. */
export function createStagedContext({ root, ...image }: Image & { root: FolderNode }): StagedContext {
  let held: FolderNode | null = root;
  return {
    summary: image.summary,
    async seal(dockerfile, policy) {
      if (!held) throw new Error('This context was sealed or removed before.');
      const staged = { path: image.path, root: held };
      held = null;
      await using undo = new AsyncDisposableStack();
      undo.defer(() => removeQuietly(image.path));
      if (dockerfile === null) await checkContextDockerignore(staged);
      else await checkContextDockerfile(staged, dockerfile, policy);
      undo.move();
      return createSealedContext(image);
    },
    async [Symbol.asyncDispose]() {
      if (held) await removeQuietly(image.path);
      held = null;
    },
  };
}

/** Apart from what is staged, so that nothing of its tree is kept. */
function createSealedContext(image: Image): SealedContext {
  return { ...image, [Symbol.asyncDispose]: () => removeQuietly(image.path) };
}
