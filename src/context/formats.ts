import type { ArchiveUpload } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import { blockBytes, looksLikeTar } from './tar/tar-header.ts';

export type ArchiveFormat = 'tar' | 'gzip' | 'zip';

/** Bytes that `detectFormat` needs, or all there are. */
export const sniffBytes = blockBytes;

const gzipMagic = Buffer.from([0x1f, 0x8b]);
/** The start of a zip: of its first member, of an empty one, the first part of a split one. */
const zipMagics = ['PK\x03\x04', 'PK\x05\x06', 'PK\x07\x08'].map((magic) => Buffer.from(magic));

const refusedMagics: readonly (readonly [name: string, magic: Buffer])[] = [
  ['bzip2', Buffer.from('BZh')],
  ['xz', Buffer.from('fd377a585a00', 'hex')],
  ['zstd', Buffer.from('28b52ffd', 'hex')],
  ['7z', Buffer.from('377abcaf271c', 'hex')],
  ['rar', Buffer.from('Rar!')],
];

/** What the bytes themselves say, which the sender's word must not contradict. @throws ARCHIVE_FORMAT, ARCHIVE_EMPTY */
export function detectFormat(head: Buffer, declared: ArchiveUpload['declared']): ArchiveFormat {
  const format = readMagic(head);
  const kind = format === 'zip' ? 'zip' : 'tar';
  if (declared === null || declared === kind) return format;
  throw new KilnError(
    'ARCHIVE_FORMAT',
    `The context is called a ${declared} by its type or name, and is a ${kind}; send it as what it is.`,
  );
}

function readMagic(head: Buffer): ArchiveFormat {
  if (head.length === 0) throw new KilnError('ARCHIVE_EMPTY', 'The archive is empty (0 bytes).');
  if (startsWith(head, gzipMagic)) return 'gzip';
  if (zipMagics.some((magic) => startsWith(head, magic))) return 'zip';
  if (looksLikeTar(head)) return 'tar';
  const [name] = refusedMagics.find(([, magic]) => startsWith(head, magic)) ?? ['of an unknown format'];
  throw new KilnError('ARCHIVE_FORMAT', `The context is ${name}; send tar, tar.gz or zip.`);
}

function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}
