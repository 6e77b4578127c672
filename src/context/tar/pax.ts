import { printable } from '../../lib/text.ts';
import { type Metadata, refuseSparse, type Xattr } from '../member.ts';
import { collectPaxRecords, parseDecimal, parsePaxRecords } from './pax-records.ts';
import { readPaxSparse } from './sparse-forms.ts';
import type { SparseHeader } from './sparse-map.ts';
import { ambiguous, corrupt } from './tar-header.ts';

/** The marks of star and Solaris tar, whose forms no other tool writes. */
const rareSparseKey = /^(?:SCHILY\.realsize$|SUN\.holesdata$)/;

/** What a PAX extended header changes of the member after it. */
export type PaxHeader = {
  readonly path?: Buffer;
  readonly linkPath?: Buffer;
  readonly size?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: Metadata['mtime'];
  readonly sparse?: SparseHeader;
  readonly xattrs: readonly Xattr[];
};

const xattrKey = 'SCHILY.xattr.';

/**
 * Reads the records of an `x` header: `<length> <key>=<value>\n`. Values of xattrs are binary. @throws ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS, ENTRY_SPARSE
 */
export function parsePaxHeader(data: Buffer): PaxHeader {
  const records = collectPaxRecords(data);
  const { values } = records;
  const path = values.get('GNU.sparse.name') ?? values.get('path');
  if ([...values.keys()].some((key) => rareSparseKey.test(key))) throw refuseSparse(path ?? null);
  const linkPath = values.get('linkpath');
  const size = values.get('size');
  const [uid, gid, mtime] = ['uid', 'gid', 'mtime'].map((key) => nonEmpty(values.get(key)));
  const sparse = readPaxSparse(records);
  return {
    ...(path && { path }),
    ...(linkPath && { linkPath }),
    ...(size && { size: parseDecimal(size) }),
    ...(uid && { uid: parseDecimal(uid) }),
    ...(gid && { gid: parseDecimal(gid) }),
    ...(mtime && { mtime: parseTime(mtime) }),
    ...(sparse && { sparse }),
    xattrs: [...values]
      .filter(([key]) => key.startsWith(xattrKey))
      .map(([key, value]) => ({ name: key.slice(xattrKey.length), value: Buffer.from(value) })),
  };
}

/** A record without a value takes back what was said before it; docker goes by the header's own field then, as does kiln. */
function nonEmpty(value: Buffer | undefined): Buffer | undefined {
  return value?.length === 0 ? undefined : value;
}

/** Of no consequence for names, contents and owners: a comment, as git archive writes, times, names of owners, a label, what a vendor notes for itself. */
const harmlessKey =
  /^(?:comment|GNU\.volume\.label|mtime|atime|ctime|uname|gname|charset|(?!GNU\.|SCHILY\.|LIBARCHIVE\.|SUN\.)[A-Z0-9]+\..*)$/;

/** A `g` header holds for all members after it, but not for docker, which passes over it: it may say only what makes no difference. */
export function checkGlobalHeader(data: Buffer): void {
  for (const [key] of parsePaxRecords(data)) {
    if (!harmlessKey.test(key)) throw ambiguous(null, `comes after a global PAX record '${printable(key)}'`);
  }
}

/** Seconds with a fraction of any length, negative before 1970. */
function parseTime(value: Buffer): Metadata['mtime'] {
  const [, sign, whole = '', fraction = ''] =
    /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(value.toString('latin1')) ?? [];
  if (sign === undefined) throw corrupt('has a PAX header with a time that is none');
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  const seconds = Number(whole);
  if (sign === '') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}
