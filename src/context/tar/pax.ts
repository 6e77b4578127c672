import { printable } from '../../lib/text.ts';
import { type Metadata, refuseSparse, type Xattr } from '../member.ts';
import { ambiguous, corrupt } from './tar-header.ts';

/** The marks of GNU tar, star and Solaris tar. */
const sparseKey = /^(?:GNU\.sparse\.|SCHILY\.realsize$|SUN\.holesdata$)/;

/** What a PAX extended header changes of the member after it. */
export type PaxHeader = {
  readonly path?: Buffer;
  readonly linkPath?: Buffer;
  readonly size?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: Metadata['mtime'];
  readonly xattrs: readonly Xattr[];
};

/** The name of a member whose own header comes later. */
const unnamed = Buffer.from('?');

const xattrKey = 'SCHILY.xattr.';

/**
 * Reads the records of an `x` header: `<length> <key>=<value>\n`. Values of xattrs are binary. @throws ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS, ENTRY_SPARSE
 */
export function parsePaxHeader(data: Buffer): PaxHeader {
  const records = new Map<string, Buffer>();
  let twice: string | null = null;
  for (const [key, value] of parseRecords(data)) {
    if (records.has(key)) twice ??= key;
    records.set(key, value);
  }
  const path = records.get('path');
  // GNU's newer form has the real name in a record of its own.
  if ([...records.keys()].some((key) => sparseKey.test(key)))
    throw refuseSparse(records.get('GNU.sparse.name') ?? path ?? unnamed);
  if (twice !== null) throw ambiguous(path ?? unnamed, `has two PAX records '${printable(twice)}'`);
  const linkPath = records.get('linkpath');
  const [size, uid, gid, mtime] = ['size', 'uid', 'gid', 'mtime'].map((key) => records.get(key));
  return {
    ...(path && { path }),
    ...(linkPath && { linkPath }),
    ...(size && { size: parseDecimal(size) }),
    ...(uid && { uid: parseDecimal(uid) }),
    ...(gid && { gid: parseDecimal(gid) }),
    ...(mtime && { mtime: parseTime(mtime) }),
    xattrs: [...records]
      .filter(([key]) => key.startsWith(xattrKey))
      .map(([key, value]) => ({ name: key.slice(xattrKey.length), value: Buffer.from(value) })),
  };
}

/** A `g` header holds for all members after it: only a comment, which git archive writes, changes none of them. */
export function checkGlobalHeader(data: Buffer): void {
  for (const [key] of parseRecords(data)) {
    if (key !== 'comment') throw ambiguous(unnamed, `comes after a global PAX record '${printable(key)}'`);
  }
}

function* parseRecords(data: Buffer): Generator<[key: string, value: Buffer]> {
  let start = 0;
  while (start < data.length) {
    const space = data.indexOf(0x20, start);
    const digits = space < 0 ? '' : data.toString('latin1', start, space);
    const end = start + Number(digits);
    const equals = data.indexOf(0x3d, space);
    const valid = /^[1-9]\d{0,7}$/.test(digits) && end <= data.length && data[end - 1] === 0x0a;
    if (!valid || equals < 0 || equals >= end) throw corrupt('has a PAX header that cannot be read');
    yield [data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1)];
    start = end;
  }
}

function parseDecimal(value: Buffer): number {
  const text = value.toString('latin1');
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw corrupt('has a PAX header with a number that is none');
  return number;
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
