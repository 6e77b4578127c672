import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract } from 'tar-stream';
import { z } from 'zod';

/** The folder of an OCI image layout, and the digest of a manifest in it. */
type LayoutImage = { readonly layout: string; readonly digest: string };

const manifestSchema = z.object({
  layers: z.array(z.object({ mediaType: z.string(), digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) })),
});

/** The layers of an image in an OCI image layout, lowest first. */
export async function readLayers({
  layout,
  digest,
}: LayoutImage): Promise<readonly { readonly mediaType: string; readonly digest: string }[]> {
  return manifestSchema.parse(JSON.parse(await readFile(pathOf(layout, digest), 'utf8'))).layers;
}

/**
 * One file of an image in an OCI image layout, as its last layer that has it leaves it. The layers are streamed and never unpacked.
 * @param name Such as `var/lib/dpkg/status`.
 * @returns null where no layer has it
 * @throws Error where the file is larger than `maxBytes`, or a layer is none; the signal's reason on abort
 */
export async function readLayoutFile(
  image: LayoutImage,
  { name, maxBytes }: { name: string; maxBytes: number },
  signal: AbortSignal,
): Promise<Buffer | null> {
  let found: Buffer | null = null;
  for (const { mediaType, digest: layer } of await readLayers(image)) {
    const stream = createReadStream(pathOf(image.layout, layer));
    found = (await findInTar(stream, decoderOf(mediaType), { name, maxBytes }, signal)) ?? found;
  }
  return found;
}

function pathOf(layout: string, digest: string): string {
  return join(layout, 'blobs', ...digest.split(':'));
}

function decoderOf(mediaType: string): NodeJS.ReadWriteStream {
  if (/[+.]zstd$/.test(mediaType)) return createZstdDecompress();
  return /[+.]gzip$/.test(mediaType) ? createGunzip() : new PassThrough();
}

async function findInTar(
  source: Readable,
  decoder: NodeJS.ReadWriteStream,
  { name, maxBytes }: { name: string; maxBytes: number },
  signal: AbortSignal,
): Promise<Buffer | null> {
  let found: Buffer | null = null;
  const members = extract();
  members.on('entry', (header, content, next) => {
    content.on('end', next);
    // It ends as the whole does, which says why.
    content.on('error', () => undefined);
    if (header.name.replace(/^\.?\//, '') !== name || header.type !== 'file') {
      content.resume();
      return;
    }
    if ((header.size ?? 0) > maxBytes) {
      members.destroy(new Error(`${name} is larger than ${maxBytes} bytes.`));
      return;
    }
    const chunks: Buffer[] = [];
    content.on('data', (chunk) => void chunks.push(chunk as Buffer));
    content.on('end', () => {
      found = Buffer.concat(chunks);
    });
  });
  await pipeline(source, decoder, members, { signal });
  return found;
}
