/** Text from outside made safe to print in a message: JSON escapes for control characters, cut to `limit` characters. */
export function printable(text: string, limit = 256): string {
  // JSON leaves DEL, C1 controls and bidirectional marks as they are; a terminal would act on them.
  const escaped = JSON.stringify(text)
    .slice(1, -1)
    .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, escapeUnit);
  return escaped.length > limit ? `${escaped.slice(0, limit)}…` : escaped;
}

/** One word for a shell, for commands that people are shown. */
export function shellQuote(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
