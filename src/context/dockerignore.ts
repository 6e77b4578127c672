import { printable } from '../lib/text.ts';
import { KilnError } from '../model/error.ts';

export const maxDockerignoreBytes = 1024 * 1024;

/**
 * Refuses what BuildKit's pattern matcher would fail or panic on: each line must be a pattern that Go's filepath.Match reads
 * (moby/patternmatcher New). @throws KilnError DOCKERIGNORE_INVALID
 */
export function checkDockerignore(bytes: Buffer): void {
  const lines = bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#')) continue;
    const pattern = line.trim().replace(/^!\s*/, '');
    const problem = line.trim() === '!' ? "is '!' alone" : findPatternError(pattern);
    if (problem === null) continue;
    throw new KilnError(
      'DOCKERIGNORE_INVALID',
      `Line ${index + 1} of .dockerignore, '${printable(line)}', ${problem}.`,
    );
  }
}

/** Go's path/filepath Match: `[` [`^`] ranges `]`, ranges of single or escaped characters, `\` before any character. */
function findPatternError(pattern: string): string | null {
  const characters = [...pattern];
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
