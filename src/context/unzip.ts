import { randomUUID } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { type Pack, pack } from 'tar-stream';
import { type Entry, fromFd, type ZipFile } from 'yauzl';
import { removeQuietly } from '../lib/files.ts';
import { KilnError } from '../model/error.ts';
import { refuse } from './entry-rules.ts';
import { checkZipLayout, rawName } from './zip-layout.ts';

const maxTargetBytes = 4096;

/** The types of a Unix mode, as zip's external attributes carry them (stat.h). */
const typeMask = 0o170000;
const symlinkType = 0o120000;
const fileTypes = new Set([0, 0o100000, 0o040000, symlinkType]);

/**
 * A zip as a plain tar, to be checked entry by entry like any other. A zip is read from its end, so it is staged first; what
 * yauzl would not refuse, because other readers see it differently, is refused by `checkZipLayout` before.
 */
export async function* unzipToTar(
  source: AsyncIterable<Buffer>,
  { directory, signal }: { directory: string; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  const path = join(directory, `${randomUUID()}.zip`);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeQuietly(path));
  const file = undo.use(await open(path, 'wx+', 0o600));
  for await (const chunk of source) await file.writeFile(chunk);
  const entries = await readEntries(file);
  await checkZipLayout(file, entries.list);
  const tar = pack();
  const packing = packAll(entries, tar, signal);
  packing.catch((error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))));
  try {
    yield* tar as AsyncIterable<Buffer>;
  } finally {
    tar.destroy();
    await packing.catch(() => undefined);
  }
}

type Entries = { readonly zip: ZipFile; readonly list: readonly Entry[] };

async function readEntries(file: FileHandle): Promise<Entries> {
  const zip = await new Promise<ZipFile>((resolve, reject) => {
    const options = { lazyEntries: true, autoClose: false, decodeStrings: false, validateEntrySizes: true };
    fromFd(file.fd, options, (error, opened) => (error ? reject(zipError(error)) : resolve(opened)));
  });
  const list = await new Promise<Entry[]>((resolve, reject) => {
    const found: Entry[] = [];
    zip.on('entry', (entry: Entry) => {
      found.push(entry);
      zip.readEntry();
    });
    zip.once('end', () => resolve(found));
    zip.once('error', (error: Error) => reject(zipError(error)));
    zip.readEntry();
  });
  return { zip, list };
}

async function packAll({ zip, list }: Entries, tar: Pack, signal: AbortSignal): Promise<void> {
  for (const entry of list) {
    signal.throwIfAborted();
    await packEntry(zip, entry, tar);
  }
  tar.finalize();
}

async function packEntry(zip: ZipFile, entry: Entry, tar: Pack): Promise<void> {
  const name = rawName(entry).toString('utf8');
  const unix = entry.versionMadeBy >> 8 === 3;
  const attributes = unix ? entry.externalFileAttributes >>> 16 : 0;
  const type = attributes & typeMask;
  const permissions = attributes & 0o7777;
  if (!fileTypes.has(type))
    throw refuse('ENTRY_TYPE', name, 'is neither a file, a folder nor a link; a context holds nothing else');
  const mtime = entry.getLastModDate();
  if (name.endsWith('/')) {
    if (entry.uncompressedSize > 0) throw refuse('ARCHIVE_AMBIGUOUS', name, 'is a folder with content');
    tar.entry({ name, type: 'directory', mode: permissions || 0o755, mtime });
    return;
  }
  const content = await openEntry(zip, entry);
  if (type === symlinkType) {
    const linkname = (await readTarget(content, entry, name)).toString('utf8');
    tar.entry({ name, type: 'symlink', linkname, mode: 0o777, mtime });
    return;
  }
  const header = { name, size: entry.uncompressedSize, mode: permissions || 0o644, mtime };
  await pipeline(content, checkSum(entry, name), new PassThrough(), tar.entry(header));
}

function openEntry(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => (error ? reject(zipError(error)) : resolve(stream)));
  });
}

async function readTarget(content: Readable, entry: Entry, name: string): Promise<Buffer> {
  if (entry.uncompressedSize > maxTargetBytes) {
    throw refuse(
      'ENTRY_NAME',
      name,
      `is a symbolic link whose target is longer than ${maxTargetBytes} bytes`,
    );
  }
  const parts: Buffer[] = [];
  for await (const chunk of checkSum(entry, name)(content)) parts.push(chunk);
  return Buffer.concat(parts);
}

/** yauzl checks sizes; the checksum is ours to check. */
function checkSum(entry: Entry, name: string): (source: AsyncIterable<Buffer>) => AsyncGenerator<Buffer> {
  return async function* check(source) {
    let checksum = 0;
    try {
      for await (const chunk of source) {
        checksum = crc32(chunk, checksum);
        yield chunk;
      }
    } catch (error) {
      throw zipError(error);
    }
    if (checksum !== entry.crc32) throw refuse('ARCHIVE_CORRUPT', name, 'does not match its checksum');
  };
}

function zipError(error: unknown): unknown {
  if (error instanceof KilnError || !(error instanceof Error)) return error;
  // Errors of the file system keep their own meaning (a full disk, say).
  if ('code' in error && typeof error.code === 'string' && !error.code.startsWith('Z_')) return error;
  return new KilnError('ARCHIVE_CORRUPT', `The zip cannot be read: ${error.message}.`, { cause: error });
}
