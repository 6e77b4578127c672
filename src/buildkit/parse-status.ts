import { KilnError } from '../model/error.ts';

/** What a short line becomes is no matter. */
const shortBytes = 64 * 1024;
/** BuildKit's own have one comma or bracket in 25 bytes or more. */
const minBytesPerPart = 12;

const [quote, backslash, comma, bracket, brace] = [0x22, 0x5c, 0x2c, 0x5b, 0x7b];

/**
 * A line of JSON that a guest sent, as a value. It may be of many megabytes, and made of nothing but brackets JSON becomes fifty times as
 * large in memory: what is so dense is refused unread.
 * @throws KilnError INFRA; SyntaxError where it is no JSON
 */
export function parseStatus(line: Buffer): unknown {
  if (line.length > shortBytes && countParts(line) > line.length / minBytesPerPart)
    throw new KilnError(
      'INFRA',
      'The guest sent a status that is made of far more parts than any of BuildKit.',
    );
  return JSON.parse(line.toString('utf8'));
}

/** How many arrays, objects and items of them there are, at most. What is in strings does not count. */
function countParts(line: Buffer): number {
  let parts = 0;
  for (let at = 0; at < line.length; at += 1) {
    const byte = line[at];
    if (byte === quote) at = endOfString(line, at);
    else if (byte === comma || byte === bracket || byte === brace) parts += 1;
  }
  return parts;
}

/** Where the string that begins at `start` ends; the end of the line where it does not. */
function endOfString(line: Buffer, start: number): number {
  for (let end = line.indexOf(quote, start + 1); end >= 0; end = line.indexOf(quote, end + 1)) {
    let escapes = 0;
    while (line[end - 1 - escapes] === backslash) escapes += 1;
    if (escapes % 2 === 0) return end;
  }
  return line.length;
}
