import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { file, raw, tarEnd } from '../context/tar.ts';

const pieceBytes = 64 * 1024;
const smallFiles = 20_000;
const largeFiles = 4;

/** Writes a tar of `bytes` and a little more, as contexts are: a few large files and many small ones, which gzip makes half as large. */
export function writeUploadContext(path: string, bytes: number): Promise<void> {
  return pipeline(context(bytes), createWriteStream(path));
}

async function* context(bytes: number): AsyncGenerator<Buffer> {
  const piece = Buffer.concat([
    randomBytes(pieceBytes / 2),
    Buffer.alloc(pieceBytes / 2, 'one line of text\n'),
  ]);
  yield raw(file('Dockerfile', 'FROM scratch\n'));
  let left = bytes;
  for (let index = 0; index < smallFiles; index += 1) {
    const content = piece.subarray(0, (index * 7) % 16_384);
    left -= content.length;
    yield raw(file(`node_modules/package-${index % 400}/dist/module-${index}.js`, content));
  }
  const pieces = Math.floor(left / largeFiles / pieceBytes);
  for (let index = 0; index < largeFiles; index += 1) {
    const size = `${(pieces * pieceBytes).toString(8).padStart(11, '0')}\0`;
    yield raw({ ...file(`large-${index}`, ''), size });
    for (let count = 0; count < pieces; count += 1) yield piece;
  }
  yield tarEnd;
}
