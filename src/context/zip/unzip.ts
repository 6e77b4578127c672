import { isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { fromRandomAccessReaderPromise, type ZipFile } from 'yauzl';
import type { ContextLimits } from '../../model/context.ts';
import { type Inflated, type InflateOptions, inflate } from '../compression/inflate.ts';
import { inflateWhole } from '../compression/inflate-whole.ts';
import { maxTargetBytes, refuse } from '../member.ts';
import { refuseCount } from '../member-count.ts';
import type { MemoryBudget } from '../memory-budget.ts';
import { Spool, type SpoolOptions } from '../spool.ts';
import { encodeTarHeader, tarEnd, tarPadding } from '../tar/tar-encode.ts';
import type { Warnings } from '../warnings.ts';
import { ReadAhead, ZipReader } from './read-ahead.ts';
import { deflateMethod, pathOf, readZipDirectory, zipError } from './zip-directory.ts';
import { readZipEnd, refuseOtherDisks } from './zip-end.ts';
import { checkZipLayout, type PlacedMember } from './zip-layout.ts';

const readBytes = 256 * 1024;
/** What is inflated at once, which takes less than a millisecond. */
const smallBytes = 64 * 1024;
/** As little as zlib takes. */
const minInflateBytes = 64;

export type UnzipOptions = SpoolOptions & {
  readonly limits: ContextLimits;
  readonly warnings: Warnings;
  readonly memory: MemoryBudget;
};

/** What Finder adds for itself: attributes and icons of the files, under the same names. */
const macosFolder = '__MACOSX';

/**
 * A zip as a plain tar, to be checked member by member like any other. A zip is read from its end, so it is staged first; what
 * yauzl would not refuse, because other readers see it differently, is refused before it is read.
 */
export async function* unzipToTar(
  source: AsyncIterable<Buffer>,
  options: UnzipOptions,
): AsyncGenerator<Buffer> {
  const { limits, warnings } = options;
  await using spool = await Spool.fill(source, options);
  const { file } = spool;
  const end = await readZipEnd(file);
  if (end.entries > limits.maxEntries) throw refuseCount(limits.maxEntries);
  const zip = await openZip(file);
  const listed = await readZipDirectory(zip, end, options);
  await refuseOtherDisks(file, end);
  const members = await checkZipLayout(file, end, listed);
  const ahead = new ReadAhead(file);
  for (const placed of members) {
    const path = pathOf(placed.member);
    if (path.split('/', 1)[0] === macosFolder) warnings.note('macos', path);
    else yield* toTar(ahead, placed);
  }
  yield tarEnd;
}

async function openZip(file: FileHandle): Promise<ZipFile> {
  try {
    const { size } = await file.stat();
    const options = { autoClose: false, decodeStrings: false, validateEntrySizes: true };
    return await fromRandomAccessReaderPromise(new ZipReader(file, size), size, options);
  } catch (error) {
    throw zipError(error);
  }
}

async function* toTar(ahead: ReadAhead, placed: PlacedMember): AsyncGenerator<Buffer> {
  const { type, size, mode, mtime } = placed.member;
  const name = Buffer.from(pathOf(placed.member));
  const target = Buffer.alloc(0);
  if (type === 'directory' || type === 'special') {
    yield encodeTarHeader({ name, type, size: 0, mode, mtime, target });
  } else if (type === 'symlink') {
    const read = await readTarget(ahead, placed);
    yield encodeTarHeader({ name, type, size: 0, mode: 0o777, mtime, target: read });
  } else {
    yield encodeTarHeader({ name, type, size, mode, mtime, target });
    yield* readContent(ahead, placed);
    yield tarPadding(size);
  }
}

/** A target is content in a zip, and part of a header in a tar: what a header cannot hold is refused here. */
async function readTarget(ahead: ReadAhead, placed: PlacedMember): Promise<Buffer> {
  const { name, size } = placed.member;
  if (size > maxTargetBytes) {
    const what = `is a symbolic link whose target is longer than ${maxTargetBytes} bytes`;
    throw refuse('ENTRY_NAME', name, what);
  }
  const target = await buffer(readContent(ahead, placed));
  if (!isUtf8(target)) throw refuse('ENTRY_NAME_ENCODING', name, 'is a link whose target is not valid UTF-8');
  if (target.includes(0)) throw refuse('ENTRY_NAME', name, 'is a link with a NUL in its target');
  return target;
}

/** The content of a member, as both its headers describe it. @throws ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS */
async function* readContent(ahead: ReadAhead, { member, contentAt }: PlacedMember): AsyncGenerator<Buffer> {
  const { name, compressedSize, size } = member;
  // Some tools say that nothing is deflated, and mean it.
  if (compressedSize === 0 && size === 0 && member.crc32 === 0) return;
  let inflated: Inflated;
  try {
    if (member.method !== deflateMethod) {
      inflated = yield* passOn(readRange(ahead, contentAt, compressedSize));
    } else if (Math.max(compressedSize, size) > smallBytes) {
      inflated = yield* inflate(readRange(ahead, contentAt, compressedSize), inflateOptions(size));
    } else {
      const whole = inflateWhole(await ahead.read(contentAt, compressedSize), size);
      yield whole.data;
      inflated = whole.inflated;
    }
  } catch (error) {
    throw zipError(error);
  }
  if (inflated.length !== size)
    throw refuse('ARCHIVE_CORRUPT', name, 'has another size than its header says');
  if (inflated.crc32 !== member.crc32) throw refuse('ARCHIVE_CORRUPT', name, 'does not match its checksum');
  if (inflated.rest.length > 0) {
    const what = 'has bytes behind the end of its compressed data, which archive readers take differently';
    throw refuse('ARCHIVE_AMBIGUOUS', name, what);
  }
}

/** A zip may have very many small files: none gets more memory than it needs. */
function inflateOptions(size: number): InflateOptions {
  return {
    chunkSize: Math.min(Math.max(size + 1, minInflateBytes), readBytes),
    maxBytes: size,
  };
}

/** What is stored as it is. */
async function* passOn(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer, Inflated> {
  let [checksum, length] = [0, 0];
  for await (const chunk of bytes) {
    checksum = crc32(chunk, checksum);
    length += chunk.length;
    yield chunk;
  }
  return { crc32: checksum, length, rest: Buffer.alloc(0) };
}

async function* readRange(ahead: ReadAhead, start: number, bytes: number): AsyncGenerator<Buffer> {
  const end = start + bytes;
  for (let at = start; at < end; at += readBytes) yield await ahead.read(at, Math.min(readBytes, end - at));
}
