import { isUtf8 } from 'node:buffer';

/** Text from outside made safe to print in a message: JSON escapes for control characters, cut to `limit` characters. */
export function printable(text: string, limit = 256): string {
  // JSON leaves DEL, C1 controls and bidirectional marks as they are; a terminal would act on them.
  const escaped = JSON.stringify(text)
    .slice(1, -1)
    .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, escapeUnit);
  return escaped.length > limit ? `${escaped.slice(0, limit)}…` : escaped;
}

/** The same for bytes that may be no UTF-8: such bytes are shown as `\\xe9`. */
export function printableBytes(bytes: Buffer, limit = 256): string {
  let shown = '';
  for (let at = 0; at < bytes.length && shown.length <= limit; ) {
    const length = utf8Length(bytes, at);
    shown +=
      length === 0
        ? `\\x${bytes.toString('hex', at, at + 1)}`
        : printable(bytes.toString('utf8', at, at + length));
    at += Math.max(length, 1);
  }
  return shown.length > limit ? `${shown.slice(0, limit)}…` : shown;
}

/** How many bytes the character at `at` has; 0 where there is none. */
function utf8Length(bytes: Buffer, at: number): number {
  return (
    [1, 2, 3, 4].find((length) => at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length))) ?? 0
  );
}

/** Text from outside for a terminal, as it is but for what a terminal would act on: of control characters only tab and newline stay. */
export function terminalText(text: string): string {
  return text.replace(/(?![\t\n])[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, escapeUnit);
}

/** One word for a shell, for commands that people are shown. */
export function shellQuote(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
