import { isUtf8 } from 'node:buffer';
import { refuse } from './member.ts';

const maxNameBytes = 4096;
const maxPartBytes = 255;
const maxDepth = 255;

/** @throws KilnError ENTRY_NAME_ENCODING */
export function decodeText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  const what =
    'is not valid UTF-8, which BuildKit cannot carry; rename it (convmv turns many at once) or leave it out';
  throw refuse('ENTRY_NAME_ENCODING', bytes, what);
}

/**
 * The parts of a member's path, without `.` and empty ones; none for the root of the context. Control characters are names like any
 * other, as for tar and Linux.
 * @throws KilnError when no member of a context may have this name.
 */
export function parseName(name: string): string[] {
  if (name === '') throw refuse('ENTRY_NAME', name, 'has an empty name');
  if (name.includes('\0')) throw refuse('ENTRY_NAME', name, 'has a NUL in its name');
  if (Buffer.byteLength(name) > maxNameBytes)
    throw refuse('ENTRY_NAME_TOO_LONG', name, `has a path longer than ${maxNameBytes} bytes`);
  const parts = splitPath(name);
  if (parts.includes('..'))
    throw refuse('ENTRY_ESCAPES', name, "has '..' in its path; paths must stay inside the context");
  if (parts.length > maxDepth) throw refuse('ENTRY_TOO_DEEP', name, `is more than ${maxDepth} folders deep`);
  if (parts.some((part) => Buffer.byteLength(part) > maxPartBytes))
    throw refuse('ENTRY_NAME_TOO_LONG', name, `has a part longer than ${maxPartBytes} bytes`);
  return parts;
}

/** The parts of a path without `.` and empty ones. */
export function splitPath(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
