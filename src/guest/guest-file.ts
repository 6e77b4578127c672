import { readFile } from 'node:fs/promises';

/** A file that kiln puts into the template's guest. */
export type GuestFile = { readonly path: string; readonly mode: number; readonly content: Buffer };

/** One of the folder programs/, to lie at `path` in the guest. */
export async function readProgram({ path, name }: { path: string; name: string }): Promise<GuestFile> {
  return { path, mode: 0o755, content: await readFile(new URL(`./programs/${name}`, import.meta.url)) };
}
