import { printable, printableBytes } from '../lib/text.ts';
import { type ErrorCode, KilnError } from '../model/error.ts';

/** One file, folder or link of an archive, of whatever format. Its name and target are raw bytes: the rules decide what they mean. */
export type Member = {
  readonly name: Buffer;
  /** `special` is a device, a FIFO or a socket: it gets no place in a context. */
  readonly type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'special';
  /** Bytes of content; 0 for all but files. */
  readonly size: number;
  /** Target of a link; empty for others. */
  readonly target: Buffer;
  readonly metadata: Metadata;
};

/** What an archive says of a member besides its name and content. */
export type Metadata = {
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Since 1970; seconds may be negative, nanoseconds are not. */
  readonly mtime: { readonly seconds: number; readonly nanoseconds: number };
  readonly xattrs: readonly Xattr[];
};
export type Xattr = { readonly name: string; readonly value: Buffer };

/** Linux hands out the target of a symbolic link in a page that ends in NUL (fs/namei.c, page_get_link): it would cut off the last byte of a longer one. */
export const maxTargetBytes = 4095;

/** An error about one member, in one sentence. @param name Null where it is not known yet. */
export function refuse(code: ErrorCode, name: string | Buffer | null, what: string): KilnError {
  if (name === null) return new KilnError(code, `An entry of the archive ${what}.`);
  const entry = typeof name === 'string' ? printable(name) : printableBytes(name);
  return new KilnError(code, `Archive entry '${entry}' ${what}.`, { details: { entry } });
}

export function refuseSparse(name: Buffer | null): KilnError {
  return refuse(
    'ENTRY_SPARSE',
    name,
    'is a sparse file in a form of star or Solaris; make the archive with GNU tar or bsdtar',
  );
}

export function refuseType(name: Buffer): KilnError {
  return refuse('ENTRY_TYPE', name, 'is of a kind that only some archive readers know; leave it out');
}
