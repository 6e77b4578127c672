import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLayoutFile } from '../../evidence/layout-file.ts';
import { removeQuietly } from '../../lib/files.ts';
import { KilnError } from '../../model/error.ts';
import type { LayoutImage } from '../../registry/registry.ts';

export const programs = ['buildkitd', 'buildctl', 'runc'] as const;
const maxBytes = 512 * 1024 * 1024;

/** The programs of a ctr image as they are in it, in a folder whose `out` has them, as `ensureBinaries` makes one; it goes with the scope. */
export async function takePrograms(
  ctr: LayoutImage,
  signal: AbortSignal,
): Promise<AsyncDisposable & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-programs-'));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(directory));
  await mkdir(join(directory, 'out'));
  for (const name of programs) {
    const path = `usr/local/bin/${name}`;
    const program = await readLayoutFile(ctr, { name: path, maxBytes }, signal);
    if (!program)
      throw new KilnError('INFRA', `The ctr image has no file ${path}: nothing can be told of it.`);
    await writeFile(join(directory, 'out', name), program);
  }
  const held = undo.move();
  return { directory, [Symbol.asyncDispose]: () => held.disposeAsync() };
}
