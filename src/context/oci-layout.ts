import { z } from 'zod';
import type { NamedArchive } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { createFolder, find } from './member-tree.ts';
import { readStagedFile, type StagedTree } from './staged-file.ts';

const maxIndexBytes = 1024 * 1024;

const indexSchema = z.object({
  manifests: z.array(
    z.object({ digest: z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]) }),
  ),
});

/**
 * Digest of the one image in a context that is an OCI image layout; null for any other.
 * @throws KilnError OCI_LAYOUT_INVALID
 */
export async function findImage(tree: StagedTree): Promise<NamedArchive['imageDigest']> {
  if (find(tree.root, 'oci-layout')?.place.type !== 'file') return null;
  const digests = [...new Set(await readDigests(tree))];
  const [digest] = digests;
  if (digest === undefined || digests.length > 1)
    throw invalid(`its index.json names ${digests.length} images; leave exactly one in it`);
  const blob = `blobs/${digest.replace(':', '/')}`;
  if (find(tree.root, blob)?.place.type !== 'file')
    throw invalid(`its index.json names ${digest}, and there is no file ${blob}`);
  return digest;
}

/** The store of older containerds, as buildctl opens it, makes this folder where it is missing; the image is read-only (content/local/store.go). */
export function addIngestFolder({ root }: Pick<StagedTree, 'root'>): void {
  if (!root.children.has('ingest')) root.children.set('ingest', createFolder());
}

async function readDigests(tree: StagedTree): Promise<`sha256:${string}`[]> {
  const index = find(tree.root, 'index.json')?.place;
  if (index?.type !== 'file') throw invalid('it has no index.json');
  if (index.size > maxIndexBytes) throw invalid(`its index.json is larger than ${maxIndexBytes} bytes`);
  const parsed = indexSchema.safeParse(parseJson(await readStagedFile(tree, index)));
  if (!parsed.success) throw invalid('its index.json names no manifests by sha256');
  return parsed.data.manifests.map(({ digest }) => digest);
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('its index.json is not JSON');
  }
}

function invalid(what: string): KilnError {
  return new KilnError('OCI_LAYOUT_INVALID', `The archive is an OCI image layout, and ${what}.`);
}
