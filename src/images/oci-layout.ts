import { createHash } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from '../lib/hash.ts';

/** A tar as an image of one uncompressed layer, in an OCI image layout (opencontainers/image-spec image-layout.md). */
export async function writeOciLayout(
  { tar, directory }: { tar: string; directory: string },
  signal: AbortSignal,
): Promise<{ digest: string }> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const layerHash = await hashFile(tar, signal);
  const { size } = await stat(tar);
  await rename(tar, join(blobs, layerHash));
  const config = await writeBlob(blobs, {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerHash}`] },
  });
  const manifest = await writeBlob(blobs, {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${layerHash}`, size }],
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest }],
  };
  await writeFile(join(directory, 'index.json'), JSON.stringify(index));
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return { digest: manifest.digest };
}

async function writeBlob(blobs: string, content: object): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hash = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hash), bytes);
  return { digest: `sha256:${hash}`, size: bytes.length };
}
