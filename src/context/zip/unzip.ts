import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { fromFdPromise, type ZipFile } from 'yauzl';
import { removeQuietly } from '../../lib/files.ts';
import type { ContextLimits } from '../../model/context.ts';
import { refuse, refuseCount } from '../member.ts';
import { rechunk } from '../rechunk.ts';
import { encodeTarHeader, tarEnd, tarPadding } from '../tar/tar-encode.ts';
import { deflateMethod, readZipDirectory, type ZipMember, zipError } from './zip-directory.ts';
import { readZipEnd, refuseOtherDisks } from './zip-end.ts';
import { checkZipLayout, type PlacedMember } from './zip-layout.ts';

const maxTargetBytes = 4096;

/**
 * A zip as a plain tar, to be checked member by member like any other. A zip is read from its end, so it is staged first; what
 * yauzl would not refuse, because other readers see it differently, is refused before it is read.
 */
export async function* unzipToTar(
  source: AsyncIterable<Buffer>,
  { directory, limits }: { directory: string; limits: ContextLimits },
): AsyncGenerator<Buffer> {
  const path = join(directory, `${randomUUID()}.zip`);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(path));
  const file = undo.use(await open(path, 'wx+', 0o600));
  for await (const chunk of rechunk(source)) await file.writeFile(chunk);
  const end = await readZipEnd(file);
  if (end.entries > limits.maxEntries) throw refuseCount(limits.maxEntries);
  const zip = await openZip(file);
  const listed = await readZipDirectory(zip, end);
  await refuseOtherDisks(file, end);
  const members = await checkZipLayout(file, end, listed);
  for (const placed of members) yield* toTar(zip, placed);
  yield tarEnd;
}

async function openZip(file: FileHandle): Promise<ZipFile> {
  try {
    return await fromFdPromise(file.fd, { autoClose: false, decodeStrings: false, validateEntrySizes: true });
  } catch (error) {
    throw zipError(error);
  }
}

async function* toTar(zip: ZipFile, placed: PlacedMember): AsyncGenerator<Buffer> {
  const { type, size, mode, mtime, name: text } = placed.member;
  const name = Buffer.from(text);
  const target = Buffer.alloc(0);
  if (type === 'directory') {
    yield encodeTarHeader({ name, type, size, mode: mode || 0o755, mtime, target });
  } else if (type === 'symlink') {
    const read = await readTarget(zip, placed);
    yield encodeTarHeader({ name, type, size: 0, mode: 0o777, mtime, target: read });
  } else {
    yield encodeTarHeader({ name, type, size, mode: mode || 0o644, mtime, target });
    yield* readContent(zip, placed);
    yield tarPadding(size);
  }
}

async function readTarget(zip: ZipFile, placed: PlacedMember): Promise<Buffer> {
  const { name, size } = placed.member;
  if (size > maxTargetBytes)
    throw refuse(
      'ENTRY_NAME',
      name,
      `is a symbolic link whose target is longer than ${maxTargetBytes} bytes`,
    );
  const target = await buffer(readContent(zip, placed));
  if (!isUtf8(target)) throw refuse('ENTRY_NAME_ENCODING', name, 'is a link whose target is not valid UTF-8');
  if (target.includes(0)) throw refuse('ENTRY_NAME', name, 'is a link with a NUL in its target');
  return target;
}

/** The content of an member. yauzl checks sizes; the checksum is ours to check. */
async function* readContent(zip: ZipFile, { member, contentAt }: PlacedMember): AsyncGenerator<Buffer> {
  if (member.compressedSize === 0 && member.size === 0 && member.crc32 === 0) return;
  let checksum = 0;
  try {
    for await (const chunk of await openContent(zip, member, contentAt)) {
      checksum = crc32(chunk, checksum);
      yield chunk;
    }
  } catch (error) {
    throw zipError(error);
  }
  if (checksum !== member.crc32) throw refuse('ARCHIVE_CORRUPT', member.name, 'does not match its checksum');
}

/** Not by the promise form: in yauzl 3.4.0 it calls another method. */
function openContent(zip: ZipFile, member: ZipMember, contentAt: number): Promise<AsyncIterable<Buffer>> {
  const { compressedSize, size } = member;
  const deflated = member.method === deflateMethod;
  return new Promise((resolve, reject) => {
    zip.openReadStreamLowLevel(
      contentAt,
      compressedSize,
      0,
      compressedSize,
      deflated,
      size,
      (error, stream) => (error ? reject(error) : resolve(stream)),
    );
  });
}
