import type { ArchiveUpload } from '../model/context.ts';
import { KilnError } from '../model/error.ts';
import type { CompressionName } from './compression/decompress.ts';
import { gzipMagic } from './compression/gzip.ts';
import { zstd } from './compression/zstd.ts';
import { blockBytes, looksLikeTar } from './tar/tar-header.ts';

export type ArchiveFormat = 'tar' | 'zip' | CompressionName;

/** Bytes that `detectFormat` needs, or all there are. */
export const sniffBytes = blockBytes;

/** The start of a zip: of its first member, of an empty one, the first part of a split one. */
const zipMagics = ['PK\x03\x04', 'PK\x05\x06', 'PK\x07\x08'].map((magic) => Buffer.from(magic));

/** How a block of bzip2 begins, and its end. */
const bzip2Blocks = ['314159265359', '177245385090'].map((magic) => Buffer.from(magic, 'hex'));

/** How a tar may be compressed. zstd's may begin with a frame that holds no data. */
const compressedMagics: readonly (readonly [format: CompressionName, begins: (head: Buffer) => boolean])[] = [
  ['gzip', (head) => startsWith(head, gzipMagic)],
  // Of three letters alone the name of a file in a tar may begin.
  [
    'bzip2',
    (head) =>
      /^BZh[1-9]$/.test(head.toString('latin1', 0, 4)) &&
      bzip2Blocks.some((magic) => startsWith(head.subarray(4), magic)),
  ],
  ['xz', (head) => startsWith(head, Buffer.from('fd377a585a00', 'hex'))],
  ['zstd', (head) => zstd.begins(head.subarray(0, zstd.magicBytes))],
];

/** Named, so that the error says what was understood. */
const refusedMagics: readonly (readonly [name: string, magic: Buffer])[] = [
  ['7z', Buffer.from('377abcaf271c', 'hex')],
  ['rar', Buffer.from('Rar!')],
  ['lzop', Buffer.from('894c5a4f000d0a1a0a', 'hex')],
  ['compress (.Z)', Buffer.from('1f9d', 'hex')],
  ['lzip', Buffer.from('LZIP')],
  ['lz4', Buffer.from('04224d18', 'hex')],
  ['lz4', Buffer.from('02214c18', 'hex')],
  ['lzma', Buffer.from('5d0000', 'hex')],
  ['cpio', Buffer.from('07070')],
  ['cpio', Buffer.from('c771', 'hex')],
  ['ar', Buffer.from('!<arch>')],
  ['cab', Buffer.from('MSCF')],
  ['xar', Buffer.from('xar!')],
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
  if (zipMagics.some((magic) => startsWith(head, magic))) return 'zip';
  const [compression] = compressedMagics.find(([, begins]) => begins(head)) ?? [];
  if (compression) return compression;
  if (looksLikeTar(head)) return 'tar';
  const [name] = refusedMagics.find(([, magic]) => startsWith(head, magic)) ?? ['of an unknown format'];
  throw new KilnError(
    'ARCHIVE_FORMAT',
    `The context is ${name}; send a zip, or a tar, as it is or compressed by gzip, bzip2, xz or zstd.`,
  );
}

function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}
