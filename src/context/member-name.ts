import { isUtf8 } from 'node:buffer';
import { refuse } from './member.ts';

const maxNameBytes = 4096;
const maxPartBytes = 255;
const maxDepth = 255;

/** @throws KilnError ENTRY_NAME_ENCODING */
export function decodeText(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw refuse('ENTRY_NAME_ENCODING', bytes.toString('latin1'), 'is not valid UTF-8');
}

/**
 * The parts of a member's path, without `.` and empty ones; none for the root of the context.
 * @throws KilnError when no member of a context may have this name.
 */
export function parseName(name: string): string[] {
  if (name === '') throw refuse('ENTRY_NAME', name, 'has an empty name');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name))
    throw refuse('ENTRY_NAME', name, 'has a control character in its name');
  if (/^(?:[/\\]|[A-Za-z]:[/\\])/.test(name))
    throw refuse('ENTRY_ABSOLUTE', name, 'has an absolute path; paths start inside the context');
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
