import { sparse } from './entry-rules.ts';
import { ambiguous, corrupt } from './tar-header.ts';

/** The marks of GNU tar, star and Solaris tar. */
const sparseKey = /^(?:GNU\.sparse\.|SCHILY\.realsize$|SUN\.holesdata$)/;

/** What a PAX extended header changes of the entry after it. */
export type PaxHeader = { readonly path?: Buffer; readonly linkPath?: Buffer; readonly size?: number };

/**
 * Reads the records of an `x` header: `<length> <key>=<value>\n`. Values stay bytes: xattrs are binary and pass through
 * untouched with the header itself. @throws ARCHIVE_CORRUPT, ARCHIVE_AMBIGUOUS, ENTRY_SPARSE
 */
export function parsePaxHeader(data: Buffer): PaxHeader {
  const records = new Map<string, Buffer>();
  for (const [key, value] of parseRecords(data)) {
    if (sparseKey.test(key)) throw sparse(records.get('path') ?? Buffer.alloc(0));
    if (records.has(key)) throw ambiguous(value, `has two PAX records '${key}'`);
    records.set(key, value);
  }
  const path = records.get('path');
  const linkPath = records.get('linkpath');
  const size = records.get('size');
  return {
    ...(path && { path }),
    ...(linkPath && { linkPath }),
    ...(size && { size: parseDecimal(size) }),
  };
}

/** A `g` header holds for all entries after it: only a comment, which git archive writes, changes none of them. */
export function checkGlobalHeader(data: Buffer): void {
  for (const [key, value] of parseRecords(data)) {
    if (key !== 'comment') throw ambiguous(value, `comes from a global PAX record '${key}'`);
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
  if (!Number.isSafeInteger(number)) throw corrupt('has a PAX header whose size is no number');
  return number;
}
