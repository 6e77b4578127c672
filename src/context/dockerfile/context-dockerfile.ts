import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { printable } from '../../lib/text.ts';
import type { DockerfilePolicy } from '../../model/context.ts';
import { KilnError } from '../../model/error.ts';
import type { KnownMember } from '../member-rules.ts';
import { checkDockerfileBytes, maxDockerfileBytes } from './dockerfile.ts';
import { checkDockerignore, maxDockerignoreBytes } from './dockerignore.ts';

type Staged = {
  readonly path: string;
  readonly index: ReadonlyMap<string, KnownMember>;
  readonly name: string;
};
type File = Extract<KnownMember, { type: 'file' }>;

/** As many as Linux follows. */
const maxLinks = 40;

/** Checks the Dockerfile at `name` in the staged image and the ignore file that BuildKit would use with it. */
export async function checkContextDockerfile(staged: Staged, policy: DockerfilePolicy): Promise<void> {
  const name = posix.normalize(staged.name);
  const file = findFile(staged.index, name);
  if (!file) {
    const message = `There is no Dockerfile at '${printable(staged.name)}' in the context; name it with dockerfile=PATH.`;
    throw new KilnError('DOCKERFILE_MISSING', message);
  }
  if (file.size > maxDockerfileBytes) {
    throw new KilnError('DOCKERFILE_INVALID', `The Dockerfile is larger than ${maxDockerfileBytes} bytes.`);
  }
  checkDockerfileBytes(await readEntry(staged.path, file), policy);
  await checkContextDockerignore(staged, `${name}.dockerignore`);
}

/** Checks the ignore file that BuildKit would use: the Dockerfile's own, where it has one, or the context's. */
export async function checkContextDockerignore(
  { path, index }: Omit<Staged, 'name'>,
  ownName?: string,
): Promise<void> {
  const own = ownName === undefined ? null : findFile(index, ownName);
  const ignore = own ?? findFile(index, '.dockerignore');
  if (!ignore) return;
  if (ignore.size > maxDockerignoreBytes) {
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `.dockerignore is larger than ${maxDockerignoreBytes} bytes.`,
    );
  }
  checkDockerignore(await readEntry(path, ignore));
}

/**
 * The file at a path, symbolic links within the context followed part by part as the guest's kernel would; null when it is
 * none or lies outside.
 */
function findFile(index: ReadonlyMap<string, KnownMember>, path: string): File | null {
  const reached: string[] = [];
  const ahead = path.split('/');
  let links = 0;
  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (reached.pop() === undefined) return null;
      continue;
    }
    const entry = index.get([...reached, part].join('/'));
    if (entry?.type === 'file') return ahead.length === 0 ? entry : null;
    if (!entry) return null;
    if (entry.type === 'directory') {
      reached.push(part);
      continue;
    }
    links += 1;
    if (links > maxLinks || entry.target.startsWith('/')) return null;
    ahead.unshift(...entry.target.split('/'));
  }
  return null;
}

async function readEntry(path: string, { offset, size }: File): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}
