export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';

  constructor(maxBytes: number) {
    super(`A line is longer than ${maxBytes} bytes.`);
  }
}

/**
 * Splits bytes into lines without their newline, whatever the chunks are; a last line without a newline counts.
 * @throws LineTooLong beyond `maxBytes`: whoever sends a line must not decide how much we hold.
 */
export async function* splitLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield Buffer.concat([...rest, chunk.subarray(start, end)]);
      rest = [];
      restBytes = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    hold(rest, chunk.subarray(start));
    restBytes += chunk.length - start;
    if (restBytes > maxBytes) throw new LineTooLong(maxBytes);
  }
  if (restBytes > 0) yield Buffer.concat(rest);
}

/**
 * Adds a part; parts no longer than what follows them are joined with it. A line that comes byte by byte is so held in few parts,
 * and each byte is copied a few times only.
 */
function hold(parts: Buffer[], part: Buffer): void {
  for (let last = parts.at(-1); last && last.length <= part.length; last = parts.at(-1))
    part = Buffer.concat([parts.pop() ?? last, part]);
  parts.push(part);
}
