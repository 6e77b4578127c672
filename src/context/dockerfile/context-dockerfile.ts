import { posix } from 'node:path';
import { printable } from '../../lib/text.ts';
import type { DockerfilePolicy } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import { refuse } from '../member.ts';
import { type FileNode, find } from '../member-tree.ts';
import { readStagedFile, type StagedTree } from '../staged-file.ts';
import { checkDockerfileBytes, isUtf16, maxDockerfileBytes } from './dockerfile.ts';
import { checkDockerignore, maxDockerignoreBytes } from './dockerignore.ts';
import { refuseMissing } from './missing-dockerfile.ts';

const defaultName = 'Dockerfile';

/**
 * Checks the Dockerfile at `name` in the staged image and the ignore file that BuildKit would use with it.
 * @returns the frontend that the Dockerfile names, if any, and warnings
 */
export async function checkContextDockerfile(
  image: StagedTree,
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
  const frontend = checkDockerfileBytes(await readStagedFile(image, file), policy);
  const warnings = lower
    ? [`There is no '${printable(name)}' in the context; '${printable(lower.path)}' was used.`]
    : [];
  const ownName = `${normal}.dockerignore`;
  return { frontend, warnings: [...warnings, ...(await checkContextDockerignore(image, ownName))] };
}

/** What BuildKit takes where there is no `Dockerfile` (v0.20.2: frontend/dockerui/build.go, ReadEntrypoint). */
function findLowerCase(image: StagedTree, name: string): { file: FileNode; path: string } | null {
  if (posix.basename(name) !== defaultName) return null;
  const path = posix.join(posix.dirname(name), defaultName.toLowerCase());
  const file = findFile(image, path);
  return file && { file, path };
}

const usualIgnoreName = '.dockerignore';

/** Checks the ignore file that BuildKit would use: the Dockerfile's own, where it has one, or the context's. @returns warnings */
export async function checkContextDockerignore(image: StagedTree, ownName?: string): Promise<string[]> {
  const own = ownName === undefined ? null : findFile(image, ownName);
  const ignore = own ?? findFile(image, usualIgnoreName);
  if (!ignore) return [];
  if (ignore.size > maxDockerignoreBytes) {
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `.dockerignore is larger than ${maxDockerignoreBytes} bytes.`,
    );
  }
  const bytes = await readStagedFile(image, ignore);
  checkDockerignore(bytes);
  if (!isUtf16(bytes)) return [];
  const name = printable(own && ownName !== undefined ? ownName : usualIgnoreName);
  return [`'${name}' is UTF-16, in which BuildKit finds none of its patterns; save it as UTF-8.`];
}

/** @throws KilnError ENTRY_TYPE where there is something that a context has no place for */
function findFile({ root }: StagedTree, path: string): FileNode | null {
  const place = find(root, path)?.place;
  if (place?.type === 'special')
    throw refuse('ENTRY_TYPE', path, 'is a device, a FIFO or a socket; make it a file');
  return place?.type === 'file' ? place : null;
}
