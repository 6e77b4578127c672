/** A longer line is given in parts, each as a line of its own: who prints it must not decide how much is held. */
const maxLineBytes = 64 * 1024;

const lineFeed = 10;

/** A terminal writes what follows over what was there: a program's progress, and whatever a guest would pass for another's line. */
const lineAnew = /\r(?![\r\n]|$)/g;

/**
 * Whole lines, each behind a prefix, in pieces of one or more; a last line without an end gets one. A line that begins anew gets its
 * prefix again.
 */
export async function* prefixLines(
  prefix: string,
  text: AsyncIterable<Buffer | string>,
): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for await (const piece of text) {
    const bytes = Buffer.concat([rest, Buffer.from(piece)]);
    const end = bytes.lastIndexOf(lineFeed) + 1;
    rest = bytes.subarray(end);
    if (end > 0) yield prefixed(prefix, bytes.subarray(0, end - 1));
    if (rest.length < maxLineBytes) continue;
    yield prefixed(prefix, rest);
    rest = Buffer.alloc(0);
  }
  if (rest.length > 0) yield prefixed(prefix, rest);
}

function prefixed(prefix: string, lines: Buffer): string {
  const text = lines.toString('utf8').split('\n');
  return text.map((line) => `${prefix}${line.replace(lineAnew, `\r${prefix}`)}\n`).join('');
}
