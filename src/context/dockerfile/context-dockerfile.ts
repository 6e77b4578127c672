import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { printable } from '../../lib/text.ts';
import type { DockerfilePolicy } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import { refuse } from '../member.ts';
import { type FileNode, type FolderNode, find } from '../member-tree.ts';
import { checkDockerfileBytes, isUtf16, maxDockerfileBytes } from './dockerfile.ts';
import { checkDockerignore, maxDockerignoreBytes } from './dockerignore.ts';
import { refuseMissing } from './missing-dockerfile.ts';

/** An image and the folder in it that is the context. */
type Image = { readonly path: string; readonly root: FolderNode };

const defaultName = 'Dockerfile';

/**
 * Checks the Dockerfile at `name` in the staged image and the ignore file that BuildKit would use with it.
 * @returns the frontend that the Dockerfile names, if any, and warnings
 */
export async function checkContextDockerfile(
  image: Image,
  name: string,
  policy: DockerfilePolicy,
): Promise<{ frontend: string | null; warnings: string[] }> {
  const normal = posix.normalize(name);
  const exact = findFile(image, normal);
  const lower = exact ? null : findLowerCase(image, normal);
  const file = exact ?? lower?.file;
  if (!file) throw await refuseMissing(image.root, normal);
  if (file.size > maxDockerfileBytes) {
    throw new KilnError('DOCKERFILE_INVALID', `The Dockerfile is larger than ${maxDockerfileBytes} bytes.`);
  }
  const frontend = checkDockerfileBytes(await readFile(image, file), policy);
  const warnings = lower
    ? [`There is no '${printable(name)}' in the context; '${printable(lower.path)}' was used.`]
    : [];
  const ownName = `${normal}.dockerignore`;
  return { frontend, warnings: [...warnings, ...(await checkContextDockerignore(image, ownName))] };
}

/** What BuildKit takes where there is no `Dockerfile` (v0.20.2: frontend/dockerui/build.go, ReadEntrypoint). */
function findLowerCase(image: Image, name: string): { file: FileNode; path: string } | null {
  if (posix.basename(name) !== defaultName) return null;
  const path = posix.join(posix.dirname(name), defaultName.toLowerCase());
  const file = findFile(image, path);
  return file && { file, path };
}

const usualIgnoreName = '.dockerignore';

/** Checks the ignore file that BuildKit would use: the Dockerfile's own, where it has one, or the context's. @returns warnings */
export async function checkContextDockerignore(image: Image, ownName?: string): Promise<string[]> {
  const own = ownName === undefined ? null : findFile(image, ownName);
  const ignore = own ?? findFile(image, usualIgnoreName);
  if (!ignore) return [];
  if (ignore.size > maxDockerignoreBytes) {
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `.dockerignore is larger than ${maxDockerignoreBytes} bytes.`,
    );
  }
  const bytes = await readFile(image, ignore);
  checkDockerignore(bytes);
  if (!isUtf16(bytes)) return [];
  const name = printable(own && ownName !== undefined ? ownName : usualIgnoreName);
  return [`'${name}' is UTF-16, in which BuildKit finds none of its patterns; save it as UTF-8.`];
}

/** @throws KilnError ENTRY_TYPE where there is something that a context has no place for */
function findFile({ root }: Image, path: string): FileNode | null {
  const place = find(root, path)?.place;
  if (place?.type === 'special')
    throw refuse('ENTRY_TYPE', path, 'is a device, a FIFO or a socket; make it a file');
  return place?.type === 'file' ? place : null;
}

async function readFile({ path }: Image, { offset, size }: FileNode): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}
