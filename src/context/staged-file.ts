import { open } from 'node:fs/promises';
import type { FileNode, FolderNode } from './member-tree.ts';

/** A context in a staged image, whose contents can be read before its folders are written. */
export type StagedTree = {
  /** Of the image. */
  readonly path: string;
  /** The folder that is the context. */
  readonly root: FolderNode;
};

export async function readStagedFile(
  { path }: Pick<StagedTree, 'path'>,
  { offset, size }: FileNode,
): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, offset);
  return buffer.subarray(0, bytesRead);
}
