import { printable } from '../../lib/text.ts';
import { KilnError } from '../../model/error.ts';

export const maxDockerignoreBytes = 1024 * 1024;

/** Go's bufio.Scanner gives up at a longer line. */
const maxLineBytes = 64 * 1024 - 1;

/**
 * Refuses what BuildKit's pattern matcher would fail or panic on: each line must be a pattern that Go's filepath.Match reads
 * (moby/patternmatcher v0.6.0, New and ignorefile.ReadAll). @throws KilnError DOCKERIGNORE_INVALID
 */
export function checkDockerignore(bytes: Buffer): void {
  const lines = bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split('\n');
  for (const [index, line] of lines.entries()) {
    const problem = findLineError(line);
    if (problem === null) continue;
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `Line ${index + 1} of .dockerignore, '${printable(line)}', ${problem}.`,
    );
  }
}

function findLineError(line: string): string | null {
  if (Buffer.byteLength(line) > maxLineBytes) return `is longer than ${maxLineBytes} bytes`;
  if (line.startsWith('#')) return null;
  const pattern = cleanPattern(line.trim()).trim();
  if (pattern === '') return null;
  const cleaned = cleanPath(pattern);
  if (cleaned === '!') return "is an exclusion ('!') of nothing";
  return findPatternError(cleaned.startsWith('!') ? cleaned.slice(1) : cleaned);
}

/** What ReadAll makes of a line, before New cleans it once more. */
function cleanPattern(line: string): string {
  const exclusion = line.startsWith('!') ? '!' : '';
  const path = line.slice(exclusion.length).trim();
  const cleaned = path === '' ? '' : cleanPath(path);
  return exclusion + (cleaned.length > 1 ? cleaned.replace(/^\//, '') : cleaned);
}

/** Go's filepath.Clean. Node's `normalize` gives the same, and takes seconds for a line of nothing but `../`. */
function cleanPath(path: string): string {
  const isRooted = path.startsWith('/');
  const kept: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    const last = kept.at(-1);
    if (part !== '..' || (!isRooted && (last === undefined || last === '..'))) kept.push(part);
    else kept.pop();
  }
  return `${isRooted ? '/' : ''}${kept.join('/')}` || '.';
}

/** Go's path/filepath Match: `[` [`^`] ranges `]`, ranges of single or escaped characters, `\` before any character. */
function findPatternError(pattern: string): string | null {
  const characters = Array.from(pattern);
  for (let index = 0; index < characters.length; index += 1) {
    if (characters[index] === '\\') {
      index += 1;
      if (index >= characters.length) return "ends in '\\'";
    } else if (characters[index] === '[') {
      const end = findClassEnd(characters, index + 1);
      if (end === null) return "has a '[' that is not closed or holds no valid range";
      index = end;
    }
  }
  return null;
}

/** Index of the closing bracket; null where Go reports ErrBadPattern. */
function findClassEnd(characters: readonly string[], start: number): number | null {
  let index = characters[start] === '^' ? start + 1 : start;
  for (let ranges = 0; ; ranges += 1) {
    if (characters[index] === ']' && ranges > 0) return index;
    const low = skipClassCharacter(characters, index);
    if (low === null) return null;
    index = low;
    if (characters[index] !== '-') continue;
    const high = skipClassCharacter(characters, index + 1);
    if (high === null) return null;
    index = high;
  }
}

function skipClassCharacter(characters: readonly string[], index: number): number | null {
  const first = characters[index];
  if (first === undefined || first === '-' || first === ']') return null;
  const end = first === '\\' ? index + 2 : index + 1;
  // The class must still be closed behind it.
  return end < characters.length ? end : null;
}
