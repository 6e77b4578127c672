import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { printable } from '../../lib/text.ts';
import type { DockerfilePolicy } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import { type FileNode, type FolderNode, findFile } from '../member-tree.ts';
import { checkDockerfileBytes, maxDockerfileBytes } from './dockerfile.ts';
import { checkDockerignore, maxDockerignoreBytes } from './dockerignore.ts';

/** An image and the tree of what is in it. */
type Image = { readonly path: string; readonly root: FolderNode };

/** Checks the Dockerfile at `name` in the staged image and the ignore file that BuildKit would use with it. */
export async function checkContextDockerfile(
  image: Image,
  name: string,
  policy: DockerfilePolicy,
): Promise<void> {
  const normal = posix.normalize(name);
  const file = findFile(image.root, normal);
  if (!file) {
    const message = `There is no Dockerfile at '${printable(name)}' in the context; name it with dockerfile=PATH.`;
    throw new KilnError('DOCKERFILE_MISSING', message);
  }
  if (file.size > maxDockerfileBytes) {
    throw new KilnError('DOCKERFILE_INVALID', `The Dockerfile is larger than ${maxDockerfileBytes} bytes.`);
  }
  checkDockerfileBytes(await readFile(image, file), policy);
  await checkContextDockerignore(image, `${normal}.dockerignore`);
}

/** Checks the ignore file that BuildKit would use: the Dockerfile's own, where it has one, or the context's. */
export async function checkContextDockerignore(image: Image, ownName?: string): Promise<void> {
  const own = ownName === undefined ? null : findFile(image.root, ownName);
  const ignore = own ?? findFile(image.root, '.dockerignore');
  if (!ignore) return;
  if (ignore.size > maxDockerignoreBytes) {
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `.dockerignore is larger than ${maxDockerignoreBytes} bytes.`,
    );
  }
  checkDockerignore(await readFile(image, ignore));
}

async function readFile({ path }: Image, { offset, size }: FileNode): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}
