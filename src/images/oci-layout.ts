import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';
import { z } from 'zod';
import { hashFile } from '../lib/hash.ts';
import { runTool } from '../lib/process/run-tool.ts';

/** It becomes part of paths and names, and may come out of a VM. */
const digestSchema = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const indexSchema = z.object({ manifests: z.tuple([z.object({ digest: digestSchema })]) });

const indexName = 'index.json';

/** The digest of the one image of an OCI image layout. @param layout Its folder. @throws Error where it does not name exactly one */
export async function readLayoutDigest(layout: string): Promise<string> {
  return digestOf(await readFile(join(layout, indexName), 'utf8'));
}

/** The same of a layout that is a tar. */
export async function readTarDigest(tar: string, signal: AbortSignal): Promise<string> {
  return digestOf(
    await runTool('tar', ['--extract', '--to-stdout', '--occurrence=1', `--file=${tar}`, indexName], signal),
  );
}

function digestOf(index: string): string {
  return indexSchema.parse(JSON.parse(index)).manifests[0].digest;
}

const compressors = { gzip: () => createGzip(), zstd: () => createZstdCompress() };
type Compression = keyof typeof compressors;

type Layer = {
  /** Is moved or, where it is compressed, removed. */
  readonly tar: string;
  readonly directory: string;
  readonly compression?: Compression;
};

/** A tar as an image of one layer, in an OCI image layout (opencontainers/image-spec image-layout.md). */
export async function writeOciLayout(
  { tar, directory, compression }: Layer,
  signal: AbortSignal,
): Promise<{ digest: string }> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const diffId = await hashFile(tar, signal);
  const layer = compression ? await compressFile(tar, compression, signal) : tar;
  const layerHash = compression ? await hashFile(layer, signal) : diffId;
  const { size } = await stat(layer);
  await rename(layer, join(blobs, layerHash));
  const config = await writeBlob(blobs, {
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
  });
  const manifest = await writeBlob(blobs, {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
    layers: [
      {
        mediaType: `application/vnd.oci.image.layer.v1.tar${compression ? `+${compression}` : ''}`,
        ...{ digest: `sha256:${layerHash}`, size },
      },
    ],
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest }],
  };
  await writeFile(join(directory, 'index.json'), JSON.stringify(index));
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  return { digest: manifest.digest };
}

async function compressFile(file: string, compression: Compression, signal: AbortSignal): Promise<string> {
  const compressed = `${file}.${compression}`;
  await pipeline(createReadStream(file), compressors[compression](), createWriteStream(compressed), {
    signal,
  });
  await rm(file);
  return compressed;
}

async function writeBlob(blobs: string, content: object): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hash = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hash), bytes);
  return { digest: `sha256:${hash}`, size: bytes.length };
}
