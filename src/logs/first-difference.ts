import { splitLines } from '../lib/lines.ts';
import type { LogDifference } from '../model/matrix.ts';

/** Of each log, in bytes; what follows is not compared. */
const comparedBytes = 1024 * 1024;
/** Longer lines end the comparison. */
const maxLineBytes = 64 * 1024;
/** What is shown of a line. */
const shownCharacters = 200;

type Log = AsyncIterable<Buffer>;

/**
 * The first line of a plain log that another log lacks; failing that, the first of the other's that this one lacks. What two runs
 * of the same build say differently counts as the same: times, the numbers and the order of steps, and how far a transfer is.
 */
export async function findFirstDifference(
  log: () => Log,
  reference: () => Log,
): Promise<LogDifference | null> {
  const own = await findMissing(log(), await meanings(reference()));
  if (own) return { of: 'own', ...own };
  const first = await findMissing(reference(), await meanings(log()));
  return first && { of: 'first', ...first };
}

async function meanings(log: Log): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const { meaning } of readLines(log)) if (meaning !== null) found.add(meaning);
  return found;
}

async function findMissing(
  log: Log,
  known: ReadonlySet<string>,
): Promise<{ line: number; text: string } | null> {
  for await (const { meaning, line, text } of readLines(log))
    if (meaning !== null && !known.has(meaning)) return { line, text: text.slice(0, shownCharacters) };
  return null;
}

async function* readLines(log: Log): AsyncGenerator<{ line: number; text: string; meaning: string | null }> {
  let line = 0;
  for await (const bytes of splitLines(upTo(log, comparedBytes), maxLineBytes)) {
    line += 1;
    const text = bytes.toString('utf8');
    yield { line, text, meaning: meaningOf(text) };
  }
}

async function* upTo(log: Log, limit: number): AsyncGenerator<Buffer> {
  let left = limit;
  for await (const chunk of log) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

/** How far it is with a layer or a folder, and what it makes of the image: digests and sizes, of every run its own. */
const transfer =
  /^(sha256:[0-9a-f]{64} |transferring |extracting |exporting |writing |naming |sending |resolve )/;

/** A line without what differs from run to run; null for one that says nothing that could be compared. */
function meaningOf(line: string): string | null {
  const [, said] = /^#\d+ (.*)$/s.exec(line) ?? [];
  if (said === undefined) return line.trim() === '' ? null : line;
  const text = said.replace(/^\d+\.\d+ /, '').replace(/ ?\d+(\.\d+)?s( done)?$/, '');
  return text === '' || transfer.test(text) ? null : text;
}
