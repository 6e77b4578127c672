import { KilnError } from '../../model/error.ts';
import { checkGlobalHeader, type PaxHeader, parsePaxHeader } from './pax.ts';
import { ambiguous, corrupt, isZero, type TarHeader } from './tar-header.ts';

/** Far more than any real path or set of xattrs. */
const maxHeaderBytes = 1024 * 1024;

/** What the extension headers before a member say of it. */
export type Extensions = {
  readonly pax?: PaxHeader;
  readonly longName?: Buffer;
  readonly longLink?: Buffer;
};

export function isExtension({ type }: TarHeader): boolean {
  return 'xgLK'.includes(type);
}

/**
 * Checks a header of an extension against those before it: of several kinds, readers believe different ones.
 * @throws ARCHIVE_HEADER_TOO_LARGE, ARCHIVE_AMBIGUOUS, ARCHIVE_CORRUPT
 */
export function checkExtension({ type, size, name }: TarHeader, before: Extensions): void {
  if (size > maxHeaderBytes) {
    throw new KilnError(
      'ARCHIVE_HEADER_TOO_LARGE',
      `The archive has an extension header of more than ${maxHeaderBytes} bytes.`,
    );
  }
  const { pax, longName, longLink } = before;
  const twice = (type === 'x' && pax) || (type === 'L' && longName) || (type === 'K' && longLink);
  const mixed = type === 'x' ? longName || longLink : pax;
  const between = type === 'g' && Object.keys(before).length > 0;
  if (twice || mixed || between) throw ambiguous(name, 'has more than one kind of extension header');
  if (size === 0) throw corrupt('has an empty extension header');
}

/** Adds what an extension of this type says. */
export function readExtension(type: string, data: Buffer, before: Extensions): Extensions {
  if (type === 'x') return { ...before, pax: parsePaxHeader(data) };
  if (type === 'L') return { ...before, longName: withoutNul(data) };
  if (type === 'K') return { ...before, longLink: withoutNul(data) };
  checkGlobalHeader(data);
  return before;
}

/** GNU's long names end in NUL; a name after that NUL would be seen by some readers only. */
function withoutNul(data: Buffer): Buffer {
  const end = data.indexOf(0);
  if (end < 0) return data;
  if (!isZero(data, end)) throw ambiguous(data.subarray(0, end), 'has bytes after the end of its name');
  return data.subarray(0, end);
}
